"""The parts of the build report."""
