"""Codes of whole clips, their file, and codebook usage."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.features.store import ClipInfo, FeatureStore
from mambatalk.fidelity import CORRECTED, PUBLISHED
from mambatalk.models.vq.quantizer import codebook_usage
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.parts import part_input
from mambatalk.motion.skeleton import PARTS, Part
from mambatalk.training.codes import encode_codes, read_codes, write_codes
from tests.helpers.tiny_training import CPU

Networks = dict[Part, VQVAE]


def motion_of(store: FeatureStore, clip: ClipInfo) -> tuple[Tensor, Tensor]:
    """Motion (1, T, 337) and expressions (1, T, 100) of a clip."""
    rows = store.frames(clip)
    motion, expressions = (
        torch.from_numpy(array[rows].copy())[None] for array in (store.motion, store.expressions)
    )
    return motion, expressions


def test_codes_are_those_of_whole_clips(store: FeatureStore, networks: Networks) -> None:
    codes = encode_codes(store, networks, rules=CORRECTED, device=CPU)
    for clip in store.clips:
        motion, expressions = motion_of(store, clip)
        for part in PARTS:
            x = part_input(part, motion, expressions, rules=CORRECTED)
            expected = networks[part](x).quantized.index[0]
            np.testing.assert_array_equal(codes[part][store.frames(clip)], expected)


@pytest.mark.parametrize("part", PARTS)
def test_window_encoded_alone_differs_near_its_edges_only(
    store: FeatureStore, networks: Networks, part: Part
) -> None:
    motion, expressions = motion_of(store, store.clips[0])
    x = part_input(part, motion, expressions, rules=PUBLISHED)
    window = slice(20, 84)
    with torch.no_grad():
        whole = networks[part].encode(x)[0, window]
        alone = networks[part].encode(x[:, window])[0]
    torch.testing.assert_close(alone[12:-12], whole[12:-12])
    assert not torch.isclose(alone[0], whole[0], atol=1e-3).all()


def test_codes_are_written_and_read_to_the_byte(
    store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    codes = encode_codes(store, networks, rules=CORRECTED, device=CPU)
    for name in ("a", "b"):
        write_codes(tmp_path / name, codes)
    back = read_codes(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert set(back) == set(PARTS)
    for part in PARTS:
        assert back[part].dtype == np.int16
        np.testing.assert_array_equal(back[part], codes[part])


@pytest.mark.parametrize("content", [b"no tensors", b"", save({"face": np.zeros(3, np.int16)})])
def test_codes_that_do_not_load_are_reported_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "codes.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"codes\.safetensors: expected the codes of face, upper"):
        read_codes(path)


def test_usage_of_evenly_used_codes_and_of_a_single_one() -> None:
    assert codebook_usage(torch.arange(8), 16) == {
        "codes_used": 0.5,
        "perplexity": pytest.approx(8),
    }
    assert codebook_usage(torch.zeros(9, dtype=torch.long), 16) == {
        "codes_used": 1 / 16,
        "perplexity": pytest.approx(1),
    }
