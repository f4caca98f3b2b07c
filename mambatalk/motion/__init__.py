"""Whole-body motion: the SMPL-X skeleton, rotations, kinematics and the body model."""
