"""How fast windows are read for training."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.bench.figure import Figure
from mambatalk.features.store import open_features
from mambatalk.features.windows import gather_batch, gather_waveforms, windows
from mambatalk.fidelity import CORRECTED

BATCH: Final = 64
FRAMES: Final = 64
ROUNDS: Final = 4
Rows = NDArray[np.int64]


def measure_windows(features: Path, cache: Path) -> Iterator[Figure]:
    """Windows of 64 frames in random order, 64 at a time, read once before the clock starts."""
    store = open_features(features, cache)
    rows = windows(store, "train", length=FRAMES, stride=20, audio=True, rules=CORRECTED)
    np.random.default_rng(0).shuffle(rows)
    rows = rows[: 64 * BATCH]

    def motion(chosen: Rows) -> None:
        gather_batch(store, chosen, FRAMES, audio=False)

    def motion_and_sound(chosen: Rows) -> None:
        motion(chosen)
        gather_waveforms(store, chosen, FRAMES)

    def channels(chosen: Rows) -> None:
        gather_batch(store, chosen, FRAMES, audio=True)

    for name, read, bar in (
        ("motion, words", motion, 40_000),
        ("and sound as recorded", motion_and_sound, 40_000),
        ("and sound as channels, on the CPU", channels, None),
    ):
        yield Figure(f"windows: {name}", _rate(read, rows), "a second", bar, True)


def _rate(read: Callable[[Rows], None], rows: Rows) -> float:
    best = 0.0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for first in range(0, len(rows), BATCH):
            read(rows[first : first + BATCH])
        best = max(best, len(rows) / (time.perf_counter() - start))
    return best
