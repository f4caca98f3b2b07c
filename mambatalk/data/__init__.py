"""The corpus, the clip store, the features and what training reads."""
