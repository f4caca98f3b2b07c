"""Codes of the legs: whole movements of the speaker, begun when speech says, and reproducible."""

from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
import torch

from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.chain import CHAINED_PARTS, CodeChain
from mambatalk.synthesis.history_chain import MEMORY, HistoryChain, chains_of_clips
from mambatalk.synthesis.layout import Pace
from mambatalk.synthesis.streaming import stream
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.speech import noise, speech
from tests.helpers.tiny_bundle import CODES, SPEAKER_IDS, tiny_bundle

LEFT, RIGHT, SHIFT = 0, 1, 2
SHIFT_FRAMES = 6


def standing(*sides: int, still: int = 40) -> np.ndarray:
    """Return codes of a person who stands on each side in turn, with a shift of weight between."""
    codes = np.repeat(sides, still)
    for change in range(still, len(codes), still):
        codes[change : change + SHIFT_FRAMES] = SHIFT
    return codes


CHAIN = HistoryChain.of_clips([(0, standing(*[LEFT, RIGHT] * 8)), (1, np.full(300, 3))], 5)


def draw(
    scores: torch.Tensor, *, seed: int = 0, speaker: int = 0, before: int | None = None
) -> list[int]:
    frames, size = scores.shape
    noise = torch.from_numpy(np.random.default_rng(seed).gumbel(size=(frames, size)))
    known = None if before is None else torch.full((1, MEMORY), before)
    return CHAIN.draw(scores[None], known, noise, torch.tensor([speaker]))[0].tolist()


def runs(codes: list[int]) -> list[tuple[int, int]]:
    return [(code, len(list(group))) for code, group in groupby(codes)]


def test_a_movement_takes_its_time_and_ends_on_the_other_side() -> None:
    shifts = 0
    for seed in range(5):
        found = runs(draw(torch.zeros(600, 5), seed=seed, before=LEFT))
        for (before, _), (code, length), (after, _) in zip(
            *(found[k:] for k in range(3)), strict=False
        ):
            if code == SHIFT:
                shifts += 1
                assert length == SHIFT_FRAMES
                assert {before, after} == {LEFT, RIGHT}
    assert shifts > 20


def test_the_network_says_when_a_movement_begins() -> None:
    scores = torch.zeros(200, 5)
    scores[:, SHIFT] = -2
    scores[100 : 100 + SHIFT_FRAMES, SHIFT] = 4
    for seed in range(5):
        codes = draw(scores, seed=seed, before=LEFT)
        assert codes[100 : 100 + SHIFT_FRAMES] == [SHIFT] * SHIFT_FRAMES, seed


def test_codes_are_drawn_by_their_probability() -> None:
    clip = np.repeat([0, 1, 0, 1, 0, 2], MEMORY + 1)
    chain = HistoryChain.of_clips([(0, clip)], 3)
    likelihoods = torch.tensor([0.2, 0.3, 0.5])
    known = torch.zeros(1, MEMORY, dtype=torch.long)
    random = np.random.default_rng(0)
    draws = 2000
    share = 0.0
    for _ in range(draws):
        noise = torch.from_numpy(random.gumbel(size=(1, 3)))
        code = chain.draw(likelihoods.log()[None, None], known, noise, torch.tensor([0]))
        share += float(code[0, 0] == 1) / draws
    # Eight times 0 goes on with 0 once in each run, and in every frame of the first, whose start
    # repeats it; with 1 twice; and with 2 once.
    weights = torch.tensor([MEMORY + 2, 2, 1]) * likelihoods
    assert share == pytest.approx(float(weights[1] / weights.sum()), abs=0.03)


def test_a_speaker_keeps_to_the_codes_of_its_own_clips() -> None:
    assert set(draw(torch.zeros(100, 5), speaker=1, before=LEFT)) == {3}
    assert set(draw(torch.zeros(400, 5), speaker=0, before=3)) <= {LEFT, RIGHT, SHIFT}


def test_a_speaker_without_training_clips_moves_like_the_one_with_most() -> None:
    assert set(draw(torch.zeros(400, 5), speaker=9)) == {LEFT, RIGHT, SHIFT}


def test_clips_of_several_speakers_are_drawn_as_each_alone() -> None:
    random = np.random.default_rng(0)
    scores = torch.from_numpy(random.standard_normal((4, 50, 5)))
    noise = torch.from_numpy(random.gumbel(size=(50, 5)))
    before = torch.tensor([[LEFT], [3], [RIGHT], [LEFT]]).expand(-1, MEMORY)
    speakers = torch.tensor([0, 1, 9, 0])
    together = CHAIN.draw(scores, before, noise, speakers)
    for row in range(4):
        rows = slice(row, row + 1)
        alone = CHAIN.draw(scores[rows], before[rows], noise, speakers[rows])
        assert torch.equal(together[rows], alone)


def test_a_clip_that_ends_goes_on() -> None:
    # No code is followed twice, and the last one by nothing at all.
    chain = HistoryChain.of_clips([(0, np.arange(20))], 20)
    noise = torch.from_numpy(np.random.default_rng(0).gumbel(size=(100, 20)))
    codes = chain.draw(torch.zeros(1, 100, 20), None, noise, torch.tensor([0]))[0].tolist()
    follows = sum(after == before + 1 for before, after in zip(codes, codes[1:], strict=False))
    assert follows > 80


def test_what_may_not_follow_is_drawn_if_nothing_else_may() -> None:
    excluded = torch.full((20, 5), -torch.inf)
    excluded[:, 4] = 0
    assert len(draw(excluded, before=LEFT)) == 20


def moving(bundle: Bundle) -> Bundle:
    codes = dict.fromkeys(CHAINED_PARTS, standing(*[LEFT, RIGHT] * 8) + 3)
    return replace(bundle, chains=chains_of_clips([(0, codes), (1, codes)], CODES))


@pytest.fixture(scope="module")
def synthesizer() -> Synthesizer:
    return Synthesizer(moving(tiny_bundle()))


def test_movements_are_whole_where_windows_meet(synthesizer: Synthesizer) -> None:
    (codes,) = synthesizer.generate_codes([speech(20)])
    found = runs(codes["lower"][0].tolist())[1:-1]
    lengths = [length for code, length in found if code == SHIFT + 3]
    assert lengths
    assert set(lengths) == {SHIFT_FRAMES}


def test_alone_in_a_batch_and_as_a_stream_the_legs_are_the_same(synthesizer: Synthesizer) -> None:
    alone = synthesizer.generate(speech(5)).poses
    batch = synthesizer.generate_batch([speech(9), speech(5)])[1].poses
    pieces = stream(synthesizer, [noise(5)], speaker_id=SPEAKER_IDS[0])
    streamed = np.concatenate([piece.poses for piece in pieces])
    np.testing.assert_allclose(batch, alone, atol=1e-4)
    np.testing.assert_allclose(streamed, alone, atol=1e-4)


def test_movements_are_whole_in_a_stream_of_short_windows() -> None:
    paced = Synthesizer(moving(tiny_bundle()), pace=Pace(hop=8, look_ahead=8))
    (codes,) = paced.generate_codes([speech(12)])
    found = runs(codes["lower"][0].tolist())[1:-1]
    assert {length for code, length in found if code == SHIFT + 3} == {SHIFT_FRAMES}


def test_only_the_legs_have_the_long_memory() -> None:
    chains = moving(tiny_bundle()).chains
    assert isinstance(chains["lower"], HistoryChain)
    assert isinstance(chains["upper"], CodeChain)
    assert isinstance(chains["hands"], CodeChain)
