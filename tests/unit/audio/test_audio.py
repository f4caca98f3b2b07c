"""Audio channels, and CTC ids by a wav2vec2 model with random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambatalk.audio.channels import (
    amplitude_envelope,
    audio_channels,
    expand_ctc,
    normalise,
    wave_statistics,
)
from mambatalk.audio.ctc import load_ctc
from mambatalk.errors import InputError


@given(st.integers(1, 3000), st.integers(0, 99))
def test_the_envelope_is_the_maximum_of_the_next_1024_samples(samples: int, seed: int) -> None:
    wave = torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))
    starts = [min(first, max(samples - 1024, 0)) for first in range(samples)]
    maxima = [wave[:, first : first + 1024].abs().amax(-1) for first in starts]
    assert torch.equal(amplitude_envelope(wave), torch.stack(maxima, dim=-1))


def test_a_normalised_clip_has_mean_zero_and_variance_one() -> None:
    wave = 0.3 + 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    normalised = normalise(wave, *wave_statistics(wave))
    assert float(normalised.mean()) == pytest.approx(0, abs=1e-5)
    assert float(normalised.std()) == pytest.approx(1, abs=1e-3)


@given(st.integers(1, 60), st.integers(1, 5000))
def test_ctc_ids_are_stretched_evenly(count: int, samples: int) -> None:
    stretched = expand_ctc(torch.arange(count), samples)
    expected: list[int] = []
    for token in range(count):
        length = (token + 1) * samples // count - token * samples // count
        expected += [token] * length
    assert stretched.tolist() == expected


def test_the_channels_are_envelope_ctc_id_and_normalised_waveform() -> None:
    wave = torch.randn(2000 + 1023, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(2000) % 30
    channels = audio_channels(wave, 0.5, 2.0, ids)
    assert channels.shape == (2000, 3)
    assert torch.equal(channels[:, 0], amplitude_envelope(wave)[:2000])
    assert torch.equal(channels[:, 1], ids.float())
    assert torch.equal(channels[:, 2], (wave[:2000] - 0.5) / 2.0)
    assert not audio_channels(wave, 0.5, 2.0)[:, 1].any()


def test_empty_audio_is_reported_and_has_an_empty_envelope() -> None:
    assert amplitude_envelope(torch.zeros(0)).shape == (0,)
    with pytest.raises(InputError, match="audio: expected at least one sample"):
        wave_statistics(torch.zeros(0))
    with pytest.raises(InputError, match="CTC ids: expected at least one"):
        expand_ctc(torch.zeros(0), 10)


# CTC models.


def save_tiny_model(folder: Path, network: Any, *, tokens: int) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

    config = Wav2Vec2Config(
        vocab_size=tokens,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(16, 20),
        conv_kernel=(16, 20),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    network(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)


def test_ctc_ids_come_from_a_local_model(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    save_tiny_model(tmp_path, transformers.Wav2Vec2ForCTC, tokens=32)
    waveform = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    ids = load_ctc(str(tmp_path))(waveform)
    assert ids.dtype == np.uint8
    assert 45 <= len(ids) <= 50
    assert ids.max() < 32


@pytest.mark.parametrize(
    ("head", "tokens", "message"),
    [
        ("Wav2Vec2Model", 32, "expected a wav2vec2 with a CTC head"),
        ("Wav2Vec2ForCTC", 300, "expected at most 256 tokens, found .* with 300"),
    ],
)
def test_an_unsuitable_ctc_model_is_rejected(
    tmp_path: Path, head: str, tokens: int, message: str
) -> None:
    transformers = pytest.importorskip("transformers")
    save_tiny_model(tmp_path, getattr(transformers, head), tokens=tokens)
    with pytest.raises(InputError, match=message):
        load_ctc(str(tmp_path))


def test_a_missing_ctc_model_is_reported(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match=r"features\.ctc_model: expected a wav2vec2 CTC model"):
        load_ctc(str(tmp_path / "nothing"))
