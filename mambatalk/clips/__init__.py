"""Corpus to clip store: ingest, rows, shards, statistics, duplicates."""
