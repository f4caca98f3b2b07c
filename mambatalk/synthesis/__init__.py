"""Speech in, SMPL-X motion out: the bundle, the rollout and the result file."""
