"""How a stage runs: its context, paths, status, and its entry in `dvc.yaml`."""
