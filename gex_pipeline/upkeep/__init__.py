"""What Dagster does every night besides history."""
