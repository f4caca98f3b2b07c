"""MLflow: runs, models and lineage."""
