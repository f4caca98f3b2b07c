"""Motion for audio that arrives in pieces."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mambatalk.audio.channels import wave_statistics
from mambatalk.errors import InputError
from mambatalk.fidelity import PUBLISHED
from mambatalk.motion.clip import SmplxMotion
from mambatalk.synthesis.decoding import decoder_reach
from mambatalk.synthesis.streaming import stream
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.speech import initial_motion, noise, speech
from tests.helpers.stand_in_body import stand_in_body
from tests.helpers.tiny_bundle import SPEAKER_IDS, tiny_bundle

SPEAKER = SPEAKER_IDS[0]


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
    return Synthesizer(tiny_bundle())


def pieces(waveform: NDArray[np.float32], samples: int) -> Iterator[NDArray[np.float32]]:
    for first in range(0, len(waveform), samples):
        yield waveform[first : first + samples]


@pytest.mark.parametrize(
    ("seconds", "samples"), [(0.05, 100), (1, 1600), (2.3, 37), (9.7, 1600), (9.7, 200_000)]
)
def test_a_stream_gives_the_motion_of_the_whole_recording(
    synthesizer: Synthesizer, seconds: float, samples: int
) -> None:
    waveform = noise(seconds)
    start = initial_motion((2.0, 1.3, -1.0))
    whole = synthesizer.generate(speech(seconds, initial_motion=start))
    streamed = list(
        stream(
            synthesizer,
            pieces(waveform, samples),
            speaker_id=SPEAKER,
            initial_motion=start,
            statistics=wave_statistics(torch.from_numpy(waveform)),
        )
    )
    assert all(len(piece) for piece in streamed)
    for name in ("poses", "expressions", "trans"):
        joined = np.concatenate([getattr(piece, name) for piece in streamed])
        np.testing.assert_allclose(joined, getattr(whole, name), atol=1e-4)


def test_feet_of_a_stream_are_locked_when_it_has_ended(synthesizer: Synthesizer) -> None:
    rest_joints = stand_in_body().rest_joints(torch.zeros(300))
    synthesizer = Synthesizer(replace(synthesizer.bundle, rest_joints=rest_joints))
    waveform = noise(5)
    statistics = wave_statistics(torch.from_numpy(waveform))
    streamed = list(
        stream(synthesizer, pieces(waveform, 1600), speaker_id=SPEAKER, statistics=statistics)
    )
    joined = SmplxMotion(
        poses=np.concatenate([piece.poses for piece in streamed]),
        expressions=np.concatenate([piece.expressions for piece in streamed]),
        trans=np.concatenate([piece.trans for piece in streamed]),
    )
    whole = synthesizer.generate(speech(5))
    locked = synthesizer.lock_feet(joined)
    np.testing.assert_allclose(locked.poses, whole.poses, atol=1e-3)
    np.testing.assert_allclose(locked.trans, whole.trans, atol=1e-3)


def test_a_stream_uses_words_that_are_known_in_advance(synthesizer: Synthesizer) -> None:
    words = np.repeat([0, 4, 0, 4], 40)
    whole = synthesizer.generate(speech(5, words=words, frames=150)).poses
    pieces_with_words = list(
        stream(
            synthesizer,
            pieces(noise(5), 1600),
            speaker_id=SPEAKER,
            words=words,
            statistics=wave_statistics(torch.from_numpy(noise(5))),
        )
    )
    streamed = np.concatenate([piece.poses for piece in pieces_with_words])
    np.testing.assert_allclose(streamed, whole, atol=1e-4)


def test_frames_are_returned_before_the_audio_ends(synthesizer: Synthesizer) -> None:
    received = 0

    def microphone() -> Iterator[NDArray[np.float32]]:
        nonlocal received
        for piece in pieces(noise(9), 1600):
            received += len(piece)
            yield piece

    first = next(stream(synthesizer, microphone(), speaker_id=SPEAKER))
    assert len(first) == 64 - decoder_reach(synthesizer.bundle)
    # One window of 34,134 samples and the envelope's look-ahead of 1023.
    assert received == 22 * 1600


def test_without_statistics_those_of_the_received_audio_are_used(
    synthesizer: Synthesizer,
) -> None:
    one_piece = np.concatenate(
        [piece.poses for piece in stream(synthesizer, [noise(2)], speaker_id=SPEAKER)]
    )
    whole = synthesizer.generate(speech(2)).poses
    np.testing.assert_allclose(one_piece, whole, atol=1e-4)


def test_unusable_streams_are_reported(synthesizer: Synthesizer) -> None:
    with pytest.raises(InputError, match="found 10 samples"):
        list(stream(synthesizer, [noise(1)[:10]], speaker_id=SPEAKER))
    with pytest.raises(InputError, match="not finite"):
        list(stream(synthesizer, [np.full(9, np.inf, np.float32)], speaker_id=SPEAKER))
    with pytest.raises(InputError, match="expected one of"):
        list(stream(synthesizer, [noise(1)], speaker_id=0))
    published = Synthesizer(synthesizer.bundle, rules=PUBLISHED)
    with pytest.raises(InputError, match="expected corrected, found published"):
        list(stream(published, [noise(1)], speaker_id=SPEAKER))
