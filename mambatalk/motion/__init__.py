"""Whole-body motion: clips, the SMPL-X skeleton, rotations, kinematics and the body model."""
