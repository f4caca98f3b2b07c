"""Codes drawn at random: the right distribution, and the same motion for the same seed."""

from typing import Any

import numpy as np
import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.motion.skeleton import PARTS
from mambatalk.synthesis.sampling import Sampling
from mambatalk.synthesis.streaming import stream
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.speech import noise, speech
from tests.helpers.tiny_bundle import SPEAKER_IDS, tiny_bundle

SHARES = torch.tensor([0.5, 0.3, 0.15, 0.05])


def drawn_shares(sampling: Sampling, draws: int = 40_000) -> list[float]:
    noise = sampling.noise("upper", 0, [draws], 4)
    codes = sampling.choose(SHARES.log().expand(1, draws, 4), noise)
    return (torch.bincount(codes.ravel(), minlength=4) / draws).tolist()


def test_codes_are_drawn_by_their_probability() -> None:
    assert drawn_shares(Sampling(seed=1)) == pytest.approx(SHARES.tolist(), abs=0.01)


def test_the_noise_is_gumbel_noise_of_the_seed_the_window_and_the_part() -> None:
    noise = Sampling(seed=7).noise("hands", 3, [20, 4], 16)
    part = PARTS.index("hands")
    expected = [
        np.random.default_rng([7, number, part]).gumbel(size=(rows, 16))
        for number, rows in ((3, 20), (4, 4))
    ]
    np.testing.assert_array_equal(noise.numpy(), np.concatenate(expected).astype(np.float32))


def test_the_temperature_sharpens_and_flattens() -> None:
    squared = SHARES**2 / (SHARES**2).sum()
    sharp = drawn_shares(Sampling(seed=1, temperature=0.5))
    assert sharp == pytest.approx(squared.tolist(), abs=0.01)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(1e-6, 1), (0.49, 1), (0.51, 2), (0.79, 2), (0.9, 3), (1.0, 4)]
)
def test_top_p_keeps_the_most_likely_codes_that_reach_it(top_p: float, kept: int) -> None:
    expected = SHARES.clone()
    expected[kept:] = 0
    expected /= expected.sum()
    shares = drawn_shares(Sampling(seed=1, top_p=top_p))
    assert shares == pytest.approx(expected.tolist(), abs=0.01)


def test_a_seed_gives_one_motion_and_other_seeds_give_others() -> None:
    first, again, other = (
        Synthesizer(tiny_bundle(), sampling=Sampling(seed=seed)).generate(speech(3))
        for seed in (1, 1, 2)
    )
    likeliest = Synthesizer(tiny_bundle()).generate(speech(3))
    np.testing.assert_array_equal(first.poses, again.poses)
    assert np.abs(first.poses - other.poses).max() > 0.01
    assert np.abs(first.poses - likeliest.poses).max() > 0.01


def test_a_stream_and_a_batch_draw_the_same_codes() -> None:
    synthesizer = Synthesizer(tiny_bundle(), sampling=Sampling(seed=3, top_p=0.9))
    alone = synthesizer.generate(speech(5)).poses
    batch = synthesizer.generate_batch([speech(9), speech(5)])[1].poses
    pieces = stream(synthesizer, [noise(5)], speaker_id=SPEAKER_IDS[0])
    streamed = np.concatenate([piece.poses for piece in pieces])
    np.testing.assert_allclose(batch, alone, atol=1e-4)
    np.testing.assert_allclose(streamed, alone, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed": -1}, "seed"),
        ({"temperature": 0}, "temperature"),
        ({"top_p": 0}, "top-p"),
        ({"top_p": 1.1}, "top-p"),
    ],
)
def test_impossible_settings_are_reported(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        Sampling(**{"seed": 0, **options})
