"""Windows of synthesis replayed as CUDA graphs against windows launched operation by operation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from mambatalk.bench.generate import speech_like, untrained_bundle
from mambatalk.config import load_config
from mambatalk.models.generator.folded_block import SLOPE, offset_and_activate
from mambatalk.models.generator.network import Fused
from mambatalk.motion.skeleton import PARTS
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.decoding import decode
from mambatalk.synthesis.layout import ClipInputs, Pace, Speech
from mambatalk.synthesis.pieces import decode_clips
from mambatalk.synthesis.synthesizer import Synthesizer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
PROFILES = Path(__file__).parents[2] / "infra/profiles"
PROFILE = PROFILES / "sample.yaml"
PAPER = PROFILES / "paper.yaml"


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


def test_pieces_of_clips_decode_like_whole_clips(bundle: Bundle) -> None:
    synthesizer = Synthesizer(bundle)
    clips = synthesizer.generate_codes([speech(length) for length in (3, 30, 20)])
    whole = [decode(bundle, codes, bundle.rules) for codes in clips]
    pieces = decode_clips(bundle, clips, bundle.rules)
    for array, expected in zip(pieces, zip(*whole, strict=True), strict=True):
        torch.testing.assert_close(array, torch.cat(expected, dim=1), atol=1e-4, rtol=0)


def test_half_precision_encodes_and_predicts_nearly_the_same() -> None:
    large = untrained_bundle(load_config(PAPER)).to("cuda")
    window = {}
    scores = {}
    # Single precision last: it must not use the weights that half precision leaves in the network.
    for precision in ("half", "single"):
        synthesizer = Synthesizer(large, precision=precision)
        clip = ClipInputs.of(speech(4), synthesizer.device)
        with torch.inference_mode():
            window[precision] = synthesizer.encode([(clip, 0), (clip, 1)])
            initial = synthesizer.initial_motion(None)[None]
            state = synthesizer.start(initial, torch.zeros(1, dtype=torch.long))
            first = Fused(*(branch[:1] for branch in window["half"]))
            scores[precision] = synthesizer.choice.scores(synthesizer.predict(state, first))
    for single, half in zip(window["single"], window["half"], strict=True):
        # The convolutions in single precision are rounded to TF32.
        assert 0 < float((half - single).abs().max()) < 0.02 * float(single.std())
    for part in PARTS:
        single, half = scores["single"][part], scores["half"][part]
        assert 0 < float((half - single).abs().max()) < 0.2 * float(single.std())


@pytest.mark.parametrize("with_skip", [False, True])
@pytest.mark.parametrize("channels", [24, 128, 200])
def test_the_kernel_of_audio_blocks_computes_offset_residual_and_activation(
    channels: int, *, with_skip: bool
) -> None:
    torch.manual_seed(0)
    both = torch.randn(3, 2 * channels, 1, 70, device="cuda", dtype=torch.float16)
    both = both.contiguous(memory_format=torch.channels_last)
    image, other = both.split(channels, dim=1)
    offset = torch.randn(channels, device="cuda")
    found = offset_and_activate(image, offset, other if with_skip else None)
    expected = image.float() + offset[:, None, None]
    if with_skip:
        expected = expected + other.float()
    expected = functional.leaky_relu(expected, SLOPE)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.float(), expected, rtol=1e-3, atol=1e-3)


def test_memory_does_not_grow_from_batch_to_batch(bundle: Bundle) -> None:
    synthesizer = Synthesizer(bundle)
    reserved = []
    for _ in range(8):
        synthesizer.generate_batch([speech(12), speech(9)])
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[-1] == reserved[3]
