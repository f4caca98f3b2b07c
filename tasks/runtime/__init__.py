"""How a stage runs: its context, paths, status, and what DVC knows about it."""
