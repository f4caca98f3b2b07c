"""The training loop that all networks share, its contract, and its state on disk."""
