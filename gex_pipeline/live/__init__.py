"""What is captured live, as Dagster shows it: how much there is, whether it is fresh, and whether messages agree."""
