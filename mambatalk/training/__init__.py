"""Training: one loop for all networks, its state on disk, and one training module per network."""
