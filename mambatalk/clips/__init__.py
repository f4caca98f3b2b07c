"""Corpus to clip store: ingest, rows, shards, statistics and the manifest."""
