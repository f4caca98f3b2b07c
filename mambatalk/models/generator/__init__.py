"""The generator: speech to motion codes."""
