"""Speech to motion codes."""
