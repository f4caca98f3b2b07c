"""Settings of all tests."""

import signal

from hypothesis import settings

# Examples have no time limit: a slow or busy machine would fail a test that holds.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# A shell that starts the tests in the background ignores SIGINT in them and, by inheritance, in
# every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
