"""Signals during a training wait for its checkpoint."""

import signal
import threading
from collections.abc import Iterator

import pytest

from mambatalk.training.loop.signals import HeldSignals


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """The signals that the caller's handler gets."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


def test_a_signal_waits_for_the_end_of_the_block(handled: list[int]) -> None:
    with HeldSignals() as signals:
        signal.raise_signal(signal.SIGTERM)
        assert (signals.received, handled) == (signal.SIGTERM, [])
    assert handled == [signal.SIGTERM]


def test_a_signal_is_delivered_once(handled: list[int]) -> None:
    with HeldSignals() as signals:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        signals.deliver()
        assert (signals.received, handled) == (None, [signal.SIGTERM])
    assert handled == [signal.SIGTERM]


def test_a_process_that_another_one_stops_gets_the_default(handled: list[int]) -> None:
    with HeldSignals() as signals:
        signals.deliver(default=signal.SIGTERM)
        assert handled == [signal.SIGTERM]


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with HeldSignals() as signals:
            signal.raise_signal(signal.SIGTERM)
            assert signals.received is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_left_alone_outside_the_main_thread(handled: list[int]) -> None:
    held: list[object] = []

    def hold() -> None:
        with HeldSignals():
            held.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert held == [before]
