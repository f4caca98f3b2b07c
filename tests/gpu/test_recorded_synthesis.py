"""Windows of synthesis replayed as CUDA graphs against windows launched operation by operation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mambatalk.bench.generate import speech_like, untrained_bundle
from mambatalk.config import load_config
from mambatalk.motion.skeleton import PARTS
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.layout import Pace, Speech
from mambatalk.synthesis.synthesizer import Synthesizer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
PROFILE = Path(__file__).parents[2] / "infra/profiles/sample.yaml"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return untrained_bundle(load_config(PROFILE)).to("cuda")


def speech(seconds: float) -> Speech:
    return Speech(waveform=speech_like(seconds), speaker_id=2)


def test_a_graph_predicts_the_motion_of_single_operations() -> None:
    config = load_config(PROFILE)
    settings = replace(config.train_generator, target="motion")
    bundle = untrained_bundle(replace(config, train_generator=settings)).to("cuda")
    recorded = Synthesizer(bundle)
    expected = by_operation(bundle).generate(speech(20))
    for _ in range(2):
        motion = recorded.generate(speech(20))
        np.testing.assert_allclose(motion.expressions, expected.expressions, atol=1e-2)


def by_operation(bundle: Bundle, pace: Pace | None = None) -> Synthesizer:
    synthesizer = Synthesizer(bundle, pace=pace)
    synthesizer._recorded = None
    return synthesizer


@pytest.mark.parametrize("pace", [None, Pace(hop=16, look_ahead=8)])
def test_a_graph_chooses_the_codes_of_single_operations(bundle: Bundle, pace: Pace | None) -> None:
    recorded = Synthesizer(bundle, pace=pace)
    (expected,) = by_operation(bundle, pace).generate_codes([speech(20)])
    # The second time, graphs alone are used.
    for _ in range(2):
        (codes,) = recorded.generate_codes([speech(20)])
        for part in PARTS:
            assert torch.equal(codes[part], expected[part])


def test_clips_of_different_lengths_keep_their_length_and_motion(bundle: Bundle) -> None:
    synthesizer = Synthesizer(bundle)
    seconds = (4, 12, 7)
    batch = synthesizer.generate_batch([speech(length) for length in seconds])
    single = by_operation(bundle).generate_batch([speech(length) for length in seconds])
    for length, one, other in zip(seconds, batch, single, strict=True):
        assert len(one.poses) == 30 * length
        # Another batch size sums in another order, so that single codes may differ.
        same = np.isclose(one.poses, other.poses, atol=1e-3).all(axis=1)
        assert same.mean() > 0.5
