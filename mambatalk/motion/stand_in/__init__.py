"""A body model in the form of SMPL-X, for machines without the licensed model."""
