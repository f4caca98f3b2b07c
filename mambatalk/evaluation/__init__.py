"""Scoring result files and whole bundles."""
