"""Reader of audio: every encoding gives the same samples; damage is reported in one line."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from mambatalk.corpus import wave as readers_wave
from mambatalk.corpus.wave import read_wav
from mambatalk.errors import InputError

SHARED = Path(__file__).parents[3].parent / "shared"


def tone(rate: int, seconds: float = 0.5) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(rate * seconds)) / rate)


def encode(
    samples: NDArray[np.floating[Any]],
    rate: int,
    subtype: str | None = None,
    container: str = "WAV",
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=container)
    return file.getvalue()


@pytest.mark.parametrize(
    ("subtype", "error"),
    [
        ("PCM_16", 1e-4),
        ("PCM_24", 1e-6),
        ("PCM_32", 1e-6),
        ("FLOAT", 1e-7),
        ("DOUBLE", 1e-7),
        ("PCM_U8", 1e-2),
    ],
)
def test_all_encodings_give_the_same_samples(subtype: str, error: float) -> None:
    samples, audio_format = read_wav(encode(tone(16_000), 16_000, subtype))
    np.testing.assert_allclose(samples, tone(16_000), atol=error)
    assert samples.dtype == np.float32
    assert (
        audio_format.sample_rate,
        audio_format.channels,
        audio_format.encoding,
        audio_format.frames,
    ) == (16_000, 1, subtype, 8_000)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_sample_rates_are_resampled_to_16_khz(rate: int) -> None:
    samples, audio_format = read_wav(encode(tone(rate), rate))
    assert (len(samples), audio_format.sample_rate) == (8_000, rate)
    np.testing.assert_allclose(samples[800:-800], tone(16_000)[800:-800], atol=2e-3)


def test_channels_are_averaged() -> None:
    samples, audio_format = read_wav(
        encode(np.stack([tone(16_000), 0 * tone(16_000)], 1), 16_000, "FLOAT")
    )
    np.testing.assert_allclose(samples, tone(16_000) / 2, atol=1e-6)
    assert audio_format.channels == 2


@pytest.mark.skipif("MP3" not in soundfile.available_formats(), reason="libsndfile without MP3")
def test_an_mp3_with_the_suffix_wav_is_read(tmp_path: Path) -> None:
    path = tmp_path / "2_scott_0_103_103.wav"
    path.write_bytes(encode(np.stack([tone(44_100, 2)] * 2, 1), 44_100, container="MP3"))
    samples, audio_format = read_wav(path)
    assert (audio_format.container, audio_format.sample_rate, audio_format.channels) == (
        "MP3",
        44_100,
        2,
    )
    assert len(samples) / 16_000 == pytest.approx(2, abs=0.1)
    assert np.abs(np.fft.rfft(samples)).argmax() / len(samples) * 16_000 == pytest.approx(
        440, abs=1
    )


def test_a_truncated_wav_is_refused_unless_few_bytes_are_missing() -> None:
    complete = encode(tone(16_000), 16_000)
    with pytest.raises(InputError, match="expected 16000 bytes of audio, found 8000 bytes"):
        read_wav(complete[:8_044])
    assert len(read_wav(complete[:-100])[0]) == 7_950


def test_a_streamed_wav_of_unknown_length_is_read() -> None:
    data = encode(tone(16_000), 16_000)
    streamed = data[:40] + b"\xff" * 4 + data[44:]
    np.testing.assert_array_equal(read_wav(streamed)[0], read_wav(data)[0])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"not sound",
        bytes(1000),
        encode(tone(16_000), 16_000)[:20],
        encode(np.zeros(0), 16_000),
        encode(tone(4_000), 4_000),
        encode(np.zeros((10, 9)), 16_000),
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + bytes(40),
    ],
    ids=range(9),
)
def test_a_file_that_is_not_audio_is_reported_in_one_line(data: bytes) -> None:
    with pytest.raises(InputError) as error:
        read_wav(data, where="clip.wav")
    assert str(error.value).startswith("clip.wav")
    assert "\n" not in str(error.value)


def test_audio_that_is_too_long_is_refused_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An hour of silence takes a few kilobytes as FLAC."""
    monkeypatch.setattr(readers_wave, "MAX_SAMPLES", 2**20)
    data = encode(np.zeros(2**22), 16_000, container="FLAC")
    assert len(data) < 2**16
    with pytest.raises(InputError, match="expected at most 1048576 samples"):
        read_wav(data)


def test_the_error_message_does_not_change_between_calls() -> None:
    lines = set()
    for _ in range(3):
        with pytest.raises(InputError) as error:
            read_wav(bytes(1000))
        lines.add(str(error.value))
    assert len(lines) == 1
    assert "0x" not in lines.pop()


def test_a_missing_file_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_wav(tmp_path / "none.wav")


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real speech beside the checkout")
class TestReal:
    def test_the_clip_in_float32_is_loud(self) -> None:
        samples, audio_format = read_wav(
            SHARED / "beatx_clips/beat_english_v2.0.0/wave16k/2_scott_0_1_1.wav"
        )
        assert (audio_format.encoding, len(samples)) == ("FLOAT", 1_025_558)
        assert np.abs(samples).max() == pytest.approx(0.926, abs=1e-3)

    @pytest.mark.parametrize(
        ("name", "seconds", "peak"),
        [
            ("beatx_clips/beat_english_v2.0.0/wave16k/2_scott_0_2_2", 62.0, 0.898),
            ("open_speech/acoustic_corpus", 26.72, None),
            ("open_speech/cold_corpus", 25.72, None),
        ],
    )
    def test_integer_clips_are_read_sample_by_sample(
        self, name: str, seconds: float, peak: float | None
    ) -> None:
        samples, audio_format = read_wav(SHARED / f"{name}.wav")
        assert (audio_format.encoding, audio_format.sample_rate, audio_format.channels) == (
            "PCM_16",
            16_000,
            1,
        )
        assert len(samples) / 16_000 == pytest.approx(seconds, abs=0.01)
        assert peak is None or np.abs(samples).max() == pytest.approx(peak, abs=1e-3)
        np.testing.assert_array_equal(samples, np.round(samples * 2**15) / 2**15)

    def test_the_same_audio_in_float_and_integer_agrees(self) -> None:
        integer, _ = read_wav(SHARED / "open_speech/cold_corpus.wav")
        floating, _ = read_wav(SHARED / "open_speech/cold_corpus_32bit_float.wav")
        np.testing.assert_allclose(integer, floating, atol=2e-4)
