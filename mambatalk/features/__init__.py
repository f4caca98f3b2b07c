"""Clip store to features: build, splits, memory-mapped store, windows."""
