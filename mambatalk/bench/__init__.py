"""Measurements of speed, memory and size against the project's bars."""
