"""Score motion against recordings: whole bundles, and result files of any method."""
