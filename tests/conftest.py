"""Settings of all tests."""

from hypothesis import settings

# Examples have no time limit: a slow or busy machine would fail a test that holds.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
