"""Training: one loop, determinism, tracking, and what each network learns from."""
