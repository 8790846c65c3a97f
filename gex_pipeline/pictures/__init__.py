"""Small charts of a trading day, drawn from arrays as SVG and PNG; nothing here knows of files or Dagster."""
