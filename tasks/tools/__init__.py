"""Commands for people that are no stage."""
