"""Prefect flows over the DVC graph."""
