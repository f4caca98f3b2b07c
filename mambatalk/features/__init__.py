"""Features: model inputs computed from the clip store, and windows of them for training."""
