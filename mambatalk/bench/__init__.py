"""Benchmarks of speed, memory and disk space, compared with the targets of the project."""
