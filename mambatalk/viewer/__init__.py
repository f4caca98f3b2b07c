"""A page that plays generated motion with its audio, served on this machine only."""
