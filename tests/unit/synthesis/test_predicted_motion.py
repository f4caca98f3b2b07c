"""Synthesis with a generator that predicts motion instead of codes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mambatalk.audio.channels import wave_statistics
from mambatalk.errors import InputError
from mambatalk.models.generator.network import GeneratorOutput
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import PART_DIMS, PARTS
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.chain import CHAINED_PARTS
from mambatalk.synthesis.decoding import assemble_pose, decoder_reach
from mambatalk.synthesis.history_chain import chains_of_clips
from mambatalk.synthesis.layout import Pace
from mambatalk.synthesis.sampling import Sampling
from mambatalk.synthesis.streaming import stream
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.speech import speech
from tests.helpers.tiny_bundle import CODES, SPEAKER_IDS, tiny_bundle

ARRAYS = ("poses", "expressions", "trans")


def motion_bundle() -> Bundle:
    """Return a bundle as the stage makes it: with the transitions of codes, which are not used."""
    chains = chains_of_clips([(0, dict.fromkeys(CHAINED_PARTS, np.arange(200) % CODES))], CODES)
    return replace(tiny_bundle(target="motion"), chains=chains)


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
    return Synthesizer(motion_bundle())


def assert_close(found: SmplxMotion, expected: SmplxMotion, atol: float = 1e-4) -> None:
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=atol)


@pytest.mark.parametrize("frames", [1, 64, 65, 200])
def test_every_frame_has_finite_motion(synthesizer: Synthesizer, frames: int) -> None:
    motion = synthesizer.generate(speech(7, frames=frames))
    assert len(motion) == frames
    for name in ARRAYS:
        assert np.isfinite(getattr(motion, name)).all()


def test_clips_side_by_side_move_as_alone(synthesizer: Synthesizer) -> None:
    speeches = [speech(3), speech(9, speaker_id=SPEAKER_IDS[1])]
    for found, request in zip(synthesizer.generate_batch(speeches), speeches, strict=True):
        assert_close(found, synthesizer.generate(request))


def test_a_window_goes_on_from_the_predicted_motion(synthesizer: Synthesizer) -> None:
    (codes,) = synthesizer.generate_codes([speech(2)])
    assert {part: rows.ndim for part, rows in codes.items()} == dict.fromkeys(PARTS, 3)
    state = synthesizer.start(synthesizer.initial_motion(None)[None], torch.tensor([0]))
    after = synthesizer.advance(state, {part: rows.repeat(1, 2, 1) for part, rows in codes.items()})
    pose = assemble_pose(codes, PARTS, synthesizer.rules)
    torch.testing.assert_close(after.context[..., :330], pose[:, :4])


def test_a_stream_gives_the_motion_of_the_whole_recording(synthesizer: Synthesizer) -> None:
    request = speech(9)
    chunks = np.array_split(request.waveform, 20)
    statistics = wave_statistics(torch.from_numpy(request.waveform))
    pieces = list(stream(synthesizer, chunks, speaker_id=SPEAKER_IDS[0], statistics=statistics))
    assert len(pieces) > 2
    joined = SmplxMotion(
        **{name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in ARRAYS}
    )
    assert_close(joined, synthesizer.generate(request))
    assert decoder_reach(synthesizer.bundle) < decoder_reach(tiny_bundle())


def test_a_stream_with_a_pace_has_every_frame() -> None:
    paced = Synthesizer(motion_bundle(), pace=Pace(hop=16, look_ahead=8))
    request = speech(5)
    pieces = list(stream(paced, np.array_split(request.waveform, 20), speaker_id=SPEAKER_IDS[0]))
    assert sum(map(len, pieces)) == 150
    assert all(np.isfinite(piece.poses).all() for piece in pieces)


def test_a_stream_with_a_pace_uses_no_frame_whose_audio_has_not_arrived() -> None:
    paced = Synthesizer(motion_bundle(), pace=Pace(hop=16, look_ahead=8))
    state = paced.start(paced.initial_motion(None)[None], torch.tensor([0]))
    channels = {part: torch.zeros(1, 64, PART_DIMS[part]) for part in PARTS}
    codes = paced.choice.choose(GeneratorOutput(channels, {}), state)
    assert {rows.shape[1] for rows in codes.values()} == {4 + 16 + 8}


def test_codes_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match="sampling: expected a bundle that predicts codes"):
        Synthesizer(motion_bundle(), sampling=Sampling(seed=0))


def test_a_stored_bundle_gives_the_same_motion(synthesizer: Synthesizer, tmp_path: Path) -> None:
    motion_bundle().save(tmp_path / "bundle")
    loaded = Synthesizer(Bundle.load(tmp_path / "bundle"))
    assert_close(loaded.generate(speech(4)), synthesizer.generate(speech(4)), atol=0)
