"""A body model in SMPL-X form, made here, where the licensed one is not available."""
