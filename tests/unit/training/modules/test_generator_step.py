"""One training step of the generator: what each of its passes may see."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import CORRECTED
from mambatalk.models.generator.network import Fused, Generator
from mambatalk.motion.skeleton import EXPRESSION_DIM, PARTS, TRANSLATION
from mambatalk.training.modules.generator import build_generator
from mambatalk.training.modules.generator_step import step_terms
from tests.helpers.tiny_training import GENERATOR

# Without dropout two steps in training mode differ by what they see alone.
STEP = replace(GENERATOR, dropout=0.0, text_dropout=1.0)
FULL = ("latent_full", "index_full")
RANDOM = ("latent_random", "index_random")


def build(**changes: Any) -> Generator:
    torch.manual_seed(0)
    return build_generator(
        replace(STEP, **changes),
        vocabulary_size=9,
        speakers=2,
        codebook_size=16,
        code_dim=12,
        rules=CORRECTED,
    )


@pytest.fixture(scope="module")
def network() -> Generator:
    return build()


@pytest.fixture
def batch() -> WindowBatch:
    draw = torch.Generator().manual_seed(0)
    return WindowBatch(
        motion=torch.randn(2, 64, 337, generator=draw),
        expressions=torch.randn(2, 64, EXPRESSION_DIM, generator=draw),
        betas=torch.zeros(2, 300),
        words=torch.randint(4, 9, (2, 64), generator=draw),
        speaker_index=torch.zeros(2, 64, dtype=torch.long),
        frames=torch.tensor([0, 64]),
        audio=torch.randn(2, 34133, 3, generator=draw),
    )


def terms(
    network: Generator,
    batch: WindowBatch,
    *,
    hidden: float = 0.5,
    face_code: int = 0,
    **changes: Any,
) -> Mapping[str, Tensor]:
    """Return the terms of a step on random codes; masks and other draws are always the same."""
    torch.manual_seed(1)
    codes = {part: torch.randint(16, (2, 64)) for part in PARTS}
    codes["face"] = torch.full((2, 64), face_code)
    codebooks = {part: torch.randn(16, 12) for part in PARTS}
    with torch.no_grad():
        return step_terms(
            network,
            batch,
            codes,
            codebooks,
            replace(STEP, **changes),
            mask_probability=hidden,
            rules=CORRECTED,
        )


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor], names: tuple[str, ...]) -> bool:
    return all(torch.allclose(one[name], other[name], rtol=1e-5) for name in names)


def moved_from(batch: WindowBatch, first: int) -> WindowBatch:
    """Return the batch with another motion from a frame on."""
    motion = batch.motion.clone()
    motion[:, first:] += 1
    return batch._replace(motion=motion)


def test_the_full_pass_sees_the_motion_of_the_context_frames_alone(
    network: Generator, batch: WindowBatch
) -> None:
    network.eval()
    expected = terms(network, batch)
    context = STEP.context_frames
    assert equal(terms(network, moved_from(batch, context)), expected, FULL)
    assert not equal(terms(network, moved_from(batch, context - 1)), expected, FULL)


def test_the_random_pass_sees_more_the_fewer_channels_are_hidden(
    network: Generator, batch: WindowBatch
) -> None:
    network.eval()
    other = moved_from(batch, 0)
    assert equal(terms(network, batch, hidden=1), terms(network, other, hidden=1), RANDOM)
    assert not equal(terms(network, batch, hidden=0), terms(network, other, hidden=0), RANDOM)


def test_a_prefix_mask_does_not_depend_on_the_share_of_hidden_channels(
    network: Generator, batch: WindowBatch
) -> None:
    network.eval()
    few, many = (terms(network, batch, hidden=share, random_mask="prefix") for share in (0, 1))
    assert equal(few, many, RANDOM)


def test_the_place_of_a_person_in_the_room_changes_nothing(
    network: Generator, batch: WindowBatch
) -> None:
    network.eval()
    elsewhere = batch.motion.clone()
    elsewhere[..., TRANSLATION] += torch.tensor([4.0, 0.0, -2.0])
    there = terms(network, batch._replace(motion=elsewhere))
    assert equal(there, terms(network, batch), FULL + RANDOM)


def test_codes_of_the_face_are_learned_in_the_random_pass_alone(
    network: Generator, batch: WindowBatch
) -> None:
    network.eval()
    one, other = (terms(network, batch, face_code=code) for code in (0, 1))
    assert equal(one, other, ("index_full",))
    assert not equal(one, other, ("index_random",))


def test_random_passes_of_a_generator_of_motion_share_the_weight(batch: WindowBatch) -> None:
    network = build(target="motion").eval()
    once, twice = (
        terms(network, batch, target="motion", random_passes=passes) for passes in (1, 2)
    )
    assert equal(once, twice, ("motion_full", "motion_random"))
    heavier = terms(network, batch, target="motion", random_weight=3 * STEP.random_weight)
    torch.testing.assert_close(heavier["motion_random"], 3 * once["motion_random"])


@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
def test_words_are_dropped_in_training_alone(
    network: Generator, batch: WindowBatch, training: bool
) -> None:
    network.train(training)
    other_words = batch._replace(words=torch.full_like(batch.words, 4))
    assert equal(terms(network, batch), terms(network, other_words), FULL) == training


@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
def test_audio_of_streams_is_cut_in_training_alone(
    network: Generator, batch: WindowBatch, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse = network.fuse
    seen: list[Tensor | None] = []

    def recording(face: Tensor, body: Tensor, words: Tensor, arrived: Tensor | None) -> Fused:
        seen.append(arrived)
        return fuse(face, body, words, arrived)

    monkeypatch.setattr(network, "fuse", recording)
    network.train(training)
    terms(network, batch, streaming=True)
    terms(network, batch, streaming=False)
    streamed, whole = seen
    assert (streamed is not None) == training
    assert whole is None
