"""Onsets of the beat metric, by librosa; `mambatalk parity` compares them with published ones."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from mambatalk.audio.onsets import audio_onsets


def clicks(times: list[float], seconds: float) -> NDArray[np.float32]:
    """Return bursts of 25 ms over a quiet floor (S,) at 16 kHz."""
    random = np.random.default_rng(0)
    waveform = random.normal(0, 1e-4, int(16_000 * seconds)).astype(np.float32)
    for time in times:
        first = int(16_000 * time)
        waveform[first : first + 400] += 0.5
    return waveform


def test_a_click_has_an_onset_where_it_is() -> None:
    onsets = audio_onsets(clicks([0.5, 1.25, 2.0], 3))
    for time in (0.5, 1.25, 2.0):
        assert np.abs(onsets - time).min() < 0.08


def test_onsets_are_ascending_multiples_of_32_ms() -> None:
    onsets = audio_onsets(clicks([0.3, 0.9, 1.7], 2))
    assert onsets.dtype == np.float64
    assert (np.diff(onsets) > 0).all()
    np.testing.assert_allclose(onsets / 0.032, np.round(onsets / 0.032))


def test_onsets_do_not_depend_on_loudness() -> None:
    waveform = clicks([0.4, 1.1], 2)
    np.testing.assert_array_equal(audio_onsets(waveform), audio_onsets(waveform * np.float32(0.25)))


def test_silence_has_no_onset() -> None:
    assert len(audio_onsets(np.zeros(16_000, np.float32))) == 0


@pytest.mark.parametrize("samples", [1, 800, 2047])
def test_audio_shorter_than_one_spectrogram_frame_gives_no_warning(samples: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audio_onsets(np.zeros(samples, np.float32))


def test_librosa_is_compiled_on_first_use_only() -> None:
    # torchmetrics imports the empty package librosa, whose modules are loaded lazily.
    code = "import sys; from mambatalk.metrics import SRGR; print('numba' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
