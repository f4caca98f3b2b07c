"""Tracking with MLflow: runs, models, and the tags that link them to their origin."""
