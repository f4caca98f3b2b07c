"""Generate motion while audio arrives: `python examples/stream_microphone.py speech.wav`.

The file stands for a microphone: its audio is handed over in pieces of a tenth of a second. A
program with a real one yields the arrays of its audio library in the same way.
"""

import sys
from collections.abc import Iterator

import numpy as np

from mambatalk import Bundle, Synthesizer, read_audio
from mambatalk.synthesis.streaming import stream

PIECE = 1_600
"""Samples of a tenth of a second, at 16 kHz."""


def microphone(path: str) -> Iterator[np.ndarray]:
    """Yield pieces of mono audio at 16 kHz, and say how much was heard."""
    waveform = read_audio(path)
    for start in range(0, len(waveform), PIECE):
        print(f"heard {(start + PIECE) / 16_000:.1f} s", end="\r")
        yield waveform[start : start + PIECE]


synthesizer = Synthesizer(Bundle.load("bundle"))
speaker = min(synthesizer.bundle.speakers)
frames = 0
for motion in stream(synthesizer, microphone(sys.argv[1]), speaker_id=speaker):
    frames += len(motion)
    print(f"\nmotion up to {frames / 30:.1f} s")
