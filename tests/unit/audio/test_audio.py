"""Sound channels, labels, and CTC ids by a real wav2vec2 of random weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambatalk.audio.channels import amplitude_envelope, expand_ctc, normalise, wave_statistics
from mambatalk.audio.ctc import load_ctc
from mambatalk.corpus.labels import BEATX_SPEAKERS, EMOTIONS, emotion_label, speaker_indices
from mambatalk.errors import InputError
from mambatalk.fidelity import CORRECTED, PUBLISHED


@given(st.integers(1, 3000), st.integers(0, 99))
def test_the_envelope_is_the_maximum_of_what_follows(samples, seed):
    wave = torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))
    starts = [min(t, max(samples - 1024, 0)) for t in range(samples)]
    slow = torch.stack([wave[:, t : t + 1024].abs().amax(-1) for t in starts], dim=-1)
    assert torch.equal(amplitude_envelope(wave), slow)


def test_a_normalised_clip_has_mean_zero_and_variance_one():
    wave = 0.3 + 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    heard = normalise(wave, *wave_statistics(wave))
    assert float(heard.mean()) == pytest.approx(0, abs=1e-5)
    assert float(heard.std()) == pytest.approx(1, abs=1e-3)


@given(st.integers(1, 60), st.integers(1, 5000))
def test_ctc_ids_are_stretched_evenly(count, samples):
    spread = expand_ctc(torch.arange(count), samples)
    assert len(spread) == samples
    expected = [
        k for k in range(count) for _ in range((k + 1) * samples // count - k * samples // count)
    ]
    assert spread.tolist() == expected


def _save_tiny(folder, network, *, tokens):
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

    network(
        Wav2Vec2Config(
            vocab_size=tokens,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            conv_dim=(8, 8),
            conv_stride=(16, 20),
            conv_kernel=(16, 20),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
        )
    ).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)


def test_ctc_ids_come_from_a_local_model(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    _save_tiny(tmp_path, transformers.Wav2Vec2ForCTC, tokens=32)
    ids = load_ctc(str(tmp_path))(np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32))
    assert ids.dtype == np.uint8
    assert 45 <= len(ids) <= 50
    assert ids.max() < 32


@pytest.mark.parametrize(
    ("head", "tokens", "named"),
    [
        ("Wav2Vec2Model", 32, "a wav2vec2 with a CTC head"),
        ("Wav2Vec2ForCTC", 300, "300 tokens; expected at most 256"),
    ],
)
def test_a_ctc_model_that_would_give_other_ids_is_refused(tmp_path, head, tokens, named):
    transformers = pytest.importorskip("transformers")
    _save_tiny(tmp_path, getattr(transformers, head), tokens=tokens)
    with pytest.raises(InputError, match=named):
        load_ctc(str(tmp_path))


def test_a_ctc_model_that_is_not_there_is_one_line(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match=r"features\.ctc_model"):
        load_ctc(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("number", "emotion"),
    [
        (1, "neutral"),
        (64, "neutral"),
        (65, "happiness"),
        (73, "anger"),
        (81, "sadness"),
        (87, "contempt"),
        (95, "surprise"),
        (103, "fear"),
        (111, "disgust"),
        (118, "disgust"),
        (119, "neutral"),
    ],
)
def test_emotion_follows_the_clip_number_and_published_never_sees_it(number, emotion):
    assert EMOTIONS[emotion_label(0, number, rules=CORRECTED)] == emotion
    assert emotion_label(1, number, rules=CORRECTED) == 0
    assert emotion_label(0, number, rules=PUBLISHED) == 0


def test_speakers_have_the_published_places_and_others_places_of_their_own():
    assert sorted(speaker_indices(BEATX_SPEAKERS).values()) == list(range(25))
    assert [speaker_indices(BEATX_SPEAKERS)[speaker] for speaker in (1, 2, 25, 30, 28, 27)] == [
        0,
        1,
        24,
        7,
        13,
        18,
    ]
    assert speaker_indices([40, 31]) == {31: 0, 40: 1}


def test_no_sound_is_one_line_and_its_envelope_empty():
    assert amplitude_envelope(torch.zeros(0)).shape == (0,)
    for of_nothing in (
        lambda: wave_statistics(torch.zeros(0)),
        lambda: expand_ctc(torch.zeros(0), 10),
    ):
        with pytest.raises(InputError):
            of_nothing()
