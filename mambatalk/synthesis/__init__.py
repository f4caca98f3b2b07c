"""Speech in, SMPL-X motion out: the bundle, the layout of windows, and the synthesizer."""
