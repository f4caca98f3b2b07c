"""Onsets are librosa's, without librosa's compile."""

import importlib
import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from mambatalk.audio.onsets import audio_onsets, onset_strength


def _bursts(seed: int, seconds: float) -> np.ndarray:
    """Noise bursts and tones of random loudness over a quiet floor."""
    random = np.random.default_rng(seed)
    samples = int(seconds * 16_000)
    time = np.arange(samples) / 16_000
    wave = random.normal(0, 1e-3, samples)
    for start in random.uniform(0, seconds, int(4 * seconds)):
        envelope = np.exp(-8 * (time - start)) * (time >= start)
        sound = (
            np.sin(2 * np.pi * random.uniform(80, 3000) * time)
            if random.random() < 0.5
            else random.normal(0, 0.3, samples)
        )
        wave += random.uniform(0.02, 0.4) * envelope * sound
    return wave.astype(np.float32)


@pytest.fixture(scope="module")
def librosa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """librosa, compiled into a folder of its own: two processes that fill numba's shared cache at
    the same time can leave code there that crashes whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_CACHE_DIR", str(tmp_path_factory.mktemp("numba")))
        yield importlib.import_module("librosa")


@pytest.mark.xdist_group("librosa")
@pytest.mark.parametrize(("seed", "seconds"), [(0, 12.0), (1, 7.3), (2, 1.0), (3, 0.05)])
def test_equal_to_librosa(librosa: ModuleType, seed: int, seconds: float) -> None:
    wave = _bursts(seed, seconds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa says that a short wave is short.
        expected = librosa.onset.onset_detect(y=wave, sr=16_000, units="time")
        strength = librosa.onset.onset_strength(y=wave, sr=16_000)
    np.testing.assert_array_equal(audio_onsets(wave), expected)
    np.testing.assert_allclose(onset_strength(wave), strength, atol=1e-4)


def test_silence_has_no_onset() -> None:
    assert len(audio_onsets(np.zeros(16_000, np.float32))) == 0


def test_a_click_is_heard_where_it_is() -> None:
    wave = np.random.default_rng(0).normal(0, 1e-4, 48_000).astype(np.float32)
    wave[20_000:20_400] += 0.5
    assert np.abs(audio_onsets(wave) - 20_000 / 16_000).min() < 0.08


def test_loudness_does_not_matter() -> None:
    wave = _bursts(5, 6.0)
    np.testing.assert_array_equal(audio_onsets(wave), audio_onsets(wave * np.float32(0.25)))
