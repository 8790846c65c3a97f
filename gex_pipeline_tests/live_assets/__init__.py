"""What Dagster is told of what is captured live."""
