"""How a stage runs: configuration, fingerprint, status, paths."""
