"""Motion for audio that arrives in pieces."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mambatalk.audio.channels import (
    FIXED_STATISTICS,
    LOOK_AHEAD,
    audio_channels,
    wave_statistics,
)
from mambatalk.errors import InputError
from mambatalk.fidelity import PUBLISHED
from mambatalk.motion.clip import SmplxMotion
from mambatalk.synthesis import streaming
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.decoding import decoder_reach
from mambatalk.synthesis.layout import Pace
from mambatalk.synthesis.streaming import stream, stream_delay
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.speech import initial_motion, noise, speech
from tests.helpers.stand_in_body import stand_in_body
from tests.helpers.tiny_bundle import SPEAKER_IDS, tiny_bundle

SPEAKER = SPEAKER_IDS[0]


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
    return Synthesizer(tiny_bundle())


def streaming_bundle() -> Bundle:
    """The tiny bundle with a generator that expects streams."""
    bundle = tiny_bundle()
    bundle.generator.config = replace(bundle.generator.config, streaming=True)
    return bundle


def joined(motions: Iterable[SmplxMotion]) -> SmplxMotion:
    parts = list(motions)
    return SmplxMotion(
        poses=np.concatenate([part.poses for part in parts]),
        expressions=np.concatenate([part.expressions for part in parts]),
        trans=np.concatenate([part.trans for part in parts]),
    )


def pieces(waveform: NDArray[np.float32], samples: int) -> Iterator[NDArray[np.float32]]:
    for first in range(0, len(waveform), samples):
        yield waveform[first : first + samples]


@pytest.mark.parametrize(
    ("seconds", "samples", "together"),
    [
        (0.05, 100, 1),
        (1, 1600, 1),
        (2.3, 37, 1),
        (9.7, 1600, 1),
        (9.7, 200_000, 1),
        (0.05, 100, 16),
        (9.7, 1600, 16),
        (13, 37_000, 2),
        (25, 1600, 5),
    ],
)
def test_a_stream_gives_the_motion_of_the_whole_recording(
    synthesizer: Synthesizer, seconds: float, samples: int, together: int
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
            together=together,
        )
    )
    assert all(len(piece) for piece in streamed)
    for name in ("poses", "expressions", "trans"):
        found = getattr(joined(streamed), name)
        np.testing.assert_allclose(found, getattr(whole, name), atol=1e-4)


def test_feet_of_a_stream_are_locked_when_it_has_ended(synthesizer: Synthesizer) -> None:
    rest_joints = stand_in_body().rest_joints(torch.zeros(300))
    synthesizer = Synthesizer(replace(synthesizer.bundle, rest_joints=rest_joints))
    waveform = noise(5)
    statistics = wave_statistics(torch.from_numpy(waveform))
    streamed = list(
        stream(synthesizer, pieces(waveform, 1600), speaker_id=SPEAKER, statistics=statistics)
    )
    whole = synthesizer.generate(speech(5))
    locked = synthesizer.lock_feet(joined(streamed))
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


def test_each_window_is_normalised_by_the_audio_up_to_its_end(
    synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = noise(9)
    # It grows louder, about a level that is not zero.
    wave = (0.3 + wave * np.linspace(0.1, 1, len(wave))).astype(np.float32)
    used: list[tuple[float, float]] = []

    def recording(part: Tensor, mean: float, std: float) -> Tensor:
        used.append((mean, std))
        return audio_channels(part, mean, std)

    monkeypatch.setattr(streaming, "audio_channels", recording)
    for _ in stream(synthesizer, pieces(wave, 1600), speaker_id=SPEAKER):
        pass
    assert len(used) == synthesizer.layout.count(9 * 30)
    for number, found in enumerate(used):
        first, samples = synthesizer.layout.audio_slice(number)
        expected = wave_statistics(torch.from_numpy(wave[: first + samples + LOOK_AHEAD]))
        assert found == pytest.approx([float(value) for value in expected], rel=1e-6)


@pytest.mark.parametrize(
    ("pace", "together"),
    [(None, 1), (Pace(hop=8, look_ahead=4), 1), (None, 2)],
    ids=["offline", "early", "in groups"],
)
def test_the_size_of_chunks_changes_no_bit(pace: Pace | None, together: int) -> None:
    synthesizer = Synthesizer(tiny_bundle(), pace=pace)
    waveform = noise(6.3)
    motions = []
    for samples in (320, 1_777, 32_000, len(waveform)):
        chunks = pieces(waveform, samples)
        streamed = stream(synthesizer, chunks, speaker_id=SPEAKER, together=together)
        motions.append(joined(streamed))
    for motion in motions[1:]:
        np.testing.assert_array_equal(motion.poses, motions[0].poses)
        np.testing.assert_array_equal(motion.expressions, motions[0].expressions)
        np.testing.assert_array_equal(motion.trans, motions[0].trans)


@pytest.mark.parametrize(
    "pace", [None, Pace(hop=8, look_ahead=0), Pace(hop=5, look_ahead=12)], ids=str
)
def test_motion_comes_within_the_stated_delay(pace: Pace | None) -> None:
    synthesizer = Synthesizer(tiny_bundle(), pace=pace)
    delay = stream_delay(synthesizer)
    received = 0

    def microphone() -> Iterator[NDArray[np.float32]]:
        nonlocal received
        for piece in pieces(noise(5), 320):
            received += len(piece)
            yield piece

    frames = 0
    latest = 0.0
    for motion in stream(synthesizer, microphone(), speaker_id=SPEAKER):
        if received < 5 * 16_000:
            latest = max(latest, received / 16_000 - frames / 30)
        frames += len(motion)
    assert frames == 150
    assert delay - 0.15 < latest < delay + 0.02


@pytest.mark.parametrize("streaming", [False, True])
def test_motion_depends_on_no_sound_that_has_not_arrived(streaming: bool) -> None:
    bundle = streaming_bundle() if streaming else tiny_bundle()
    synthesizer = Synthesizer(bundle, pace=Pace(hop=8, look_ahead=4))
    one = noise(4)
    other = one.copy()
    other[32_000:] *= 50
    statistics = (0.0, 0.1)
    first, second = (
        joined(stream(synthesizer, pieces(audio, 320), speaker_id=SPEAKER, statistics=statistics))
        for audio in (one, other)
    )
    heard = int((2 - stream_delay(synthesizer)) * 30)
    np.testing.assert_array_equal(first.poses[:heard], second.poses[:heard])
    assert not np.array_equal(first.poses, second.poses)


def test_a_pace_of_whole_windows_chooses_the_codes_of_generate() -> None:
    offline = Synthesizer(tiny_bundle())
    paced = Synthesizer(tiny_bundle(), pace=Pace(hop=60, look_ahead=0))
    for part, codes in offline.generate_codes([speech(7)])[0].items():
        assert torch.equal(paced.generate_codes([speech(7)])[0][part], codes)


def test_an_early_stream_has_the_codes_of_the_same_pace_offline() -> None:
    bundle = streaming_bundle()
    synthesizer = Synthesizer(bundle, pace=Pace(hop=8, look_ahead=30))
    waveform = noise(5)
    streamed = joined(stream(synthesizer, pieces(waveform, 1_600), speaker_id=SPEAKER))
    # A look-ahead as long as the reach of the decoders, whose codes later windows draw again.
    assert decoder_reach(bundle) <= 30
    whole = synthesizer.generate(speech(5))
    assert np.abs(streamed.poses - whole.poses).max(axis=1)[:20].max() < 1e-3


def test_a_network_for_streams_hears_all_levels_alike() -> None:
    assert Synthesizer(streaming_bundle()).statistics == FIXED_STATISTICS
    assert Synthesizer(tiny_bundle()).statistics is None


@pytest.mark.parametrize(("hop", "look_ahead"), [(0, 4), (8, -1), (32, 29)])
def test_an_impossible_pace_is_reported(hop: int, look_ahead: int) -> None:
    with pytest.raises(InputError, match="at most 60 with the look-ahead"):
        Synthesizer(tiny_bundle(), pace=Pace(hop=hop, look_ahead=look_ahead))


@pytest.mark.soak
def test_memory_is_flat_over_an_hour() -> None:
    process = psutil.Process()
    synthesizer = Synthesizer(tiny_bundle(), pace=Pace(hop=16, look_ahead=8))
    minute = noise(60)
    resident = []

    def microphone() -> Iterator[NDArray[np.float32]]:
        for _ in range(60):
            yield from pieces(minute, 1_600)
            resident.append(process.memory_info().rss)

    frames = sum(map(len, stream(synthesizer, microphone(), speaker_id=SPEAKER)))
    assert frames == 3600 * 30
    # From the tenth minute on, when allocators and caches have their size.
    assert max(resident[10:]) - resident[10] < 16 * 2**20


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
