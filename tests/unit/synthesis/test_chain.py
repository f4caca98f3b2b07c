"""Codes drawn as sequences: the right distribution, continuous over windows, and reproducible."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from mambatalk.fidelity import CORRECTED
from mambatalk.motion.skeleton import PARTS
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.chain import CHAINED_PARTS, CodeChain
from mambatalk.synthesis.sampling import Sampling
from mambatalk.synthesis.streaming import stream
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.speech import noise, speech
from tests.helpers.tiny_bundle import CODES, SPEAKER_IDS, tiny_bundle

CHAIN = CodeChain(
    shares=torch.tensor([0.5, 0.3, 0.2]),
    transitions=torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]]),
)
ANYBODY = torch.tensor([0])
LIKELIHOODS = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3], [0.3, 0.3, 0.4]])
"""Of each code in three frames."""


def gumbel(*size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).gumbel(size=size)).float()


@pytest.mark.parametrize("before", [None, 2])
def test_sequences_are_drawn_by_their_probability(before: int | None) -> None:
    first = CHAIN.shares if before is None else CHAIN.transitions[before]
    expected = {}
    for a, b, c in product(range(3), repeat=3):
        likelihood = LIKELIHOODS[0, a] * LIKELIHOODS[1, b] * LIKELIHOODS[2, c]
        prior = first[a] * CHAIN.transitions[a, b] * CHAIN.transitions[b, c]
        expected[a, b, c] = float(likelihood * prior)
    total = sum(expected.values())

    draws = 20_000
    scores = LIKELIHOODS.log()[None]
    known = None if before is None else torch.tensor([[0, before]])
    found = dict.fromkeys(expected, 0)
    for each in gumbel(draws, 3, 3):
        found[tuple(CHAIN.draw(scores, known, each, ANYBODY)[0].tolist())] += 1
    for codes, probability in expected.items():
        assert found[codes] / draws == pytest.approx(probability / total, abs=0.012), codes


def test_what_was_never_seen_is_unlikely_but_possible() -> None:
    chain = CodeChain.of_clips([np.array([0, 0, 1, 1]), np.array([1, 0])], 4)
    assert chain.shares.sum() == pytest.approx(1)
    assert chain.shares.tolist()[:2] == pytest.approx([0.5, 0.5], abs=0.01)
    assert chain.transitions.sum(1).tolist() == pytest.approx([1] * 4)
    assert 0 < chain.transitions[0, 3] < 0.01
    # Pairs do not reach from one clip into the next: 1 is followed once by 1 and once by 0.
    assert chain.transitions[1, 0] == pytest.approx(chain.transitions[1, 1], rel=0.01)


def test_a_code_outside_the_likely_share_is_not_drawn() -> None:
    scores = torch.tensor([0.0, 0.0, -torch.inf]).expand(2, 40, 3)
    codes = CHAIN.draw(scores, None, gumbel(40, 3), torch.tensor([0, 0]))
    assert (codes < 2).all()


def chained(bundle: Bundle) -> Bundle:
    """Return a bundle whose codes hold for ten frames and then move to the next code."""
    codes = [np.repeat(np.arange(CODES), 10)]
    return replace(
        bundle, chains={part: CodeChain.of_clips(codes, CODES) for part in CHAINED_PARTS}
    )


def changes(codes: torch.Tensor) -> float:
    return float((codes[:, 1:] != codes[:, :-1]).float().mean())


def test_codes_move_as_in_training_within_and_between_windows() -> None:
    bundle = chained(tiny_bundle())
    (codes,) = Synthesizer(bundle).generate_codes([speech(20)])
    for part in CHAINED_PARTS:
        assert changes(codes[part]) < 0.2, part
        # The first frames of windows: 64, 124, and so on.
        joints = codes[part][:, 64::60] != codes[part][:, 63:-1:60]
        assert joints.float().mean() < 0.5, f"{part} jumps where windows meet"
    alone = replace(CORRECTED, coherent_codes=False)
    sampling = Sampling(seed=0)
    (free,) = Synthesizer(bundle, rules=alone, sampling=sampling).generate_codes([speech(20)])
    assert changes(free["upper"]) > 0.5


def test_alone_in_a_batch_and_as_a_stream_the_motion_is_the_same() -> None:
    synthesizer = Synthesizer(chained(tiny_bundle()))
    alone = synthesizer.generate(speech(5)).poses
    batch = synthesizer.generate_batch([speech(9), speech(5)])[1].poses
    pieces = stream(synthesizer, [noise(5)], speaker_id=SPEAKER_IDS[0])
    streamed = np.concatenate([piece.poses for piece in pieces])
    np.testing.assert_allclose(batch, alone, atol=1e-4)
    np.testing.assert_allclose(streamed, alone, atol=1e-4)


def test_another_seed_moves_the_body_otherwise_and_the_face_alike() -> None:
    bundle = chained(tiny_bundle())
    first, second = (
        Synthesizer(bundle, sampling=Sampling(seed=seed)).generate_codes([speech(5)])[0]
        for seed in (0, 1)
    )
    assert torch.equal(first["face"], second["face"])
    assert all(not torch.equal(first[part], second[part]) for part in PARTS[1:])
