"""Recordings of any common format, rate and number of channels; damage in one line."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from mambatalk.audio.recording import Recording, read_audio
from mambatalk.errors import InputError

TONE = 440
"""Hz."""


def tone(rate: int, seconds: float = 3, channels: int = 2) -> NDArray[np.float32]:
    wave = 0.5 * np.sin(2 * np.pi * TONE * np.arange(int(rate * seconds)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def write_m4a(path: Path, samples: NDArray[np.float32], rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo")
        planar = np.ascontiguousarray(samples.T)
        frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout="stereo")
        frame.sample_rate = rate
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def pitch(waveform: NDArray[np.float32]) -> float:
    """Return the strongest frequency in Hz."""
    middle = waveform[8000:40_000]
    return float(np.abs(np.fft.rfft(middle)).argmax()) * 16_000 / len(middle)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_rates_and_channels_become_16_khz_mono(tmp_path: Path, rate: int, channels: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(rate, channels=channels), rate)
    waveform = read_audio(tmp_path / "a.wav")
    assert waveform.dtype == np.float32
    assert len(waveform) == 48_000
    assert pitch(waveform) == pytest.approx(TONE, abs=1)
    assert np.abs(waveform[1000:-1000]).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3", "m4a"])
def test_compressed_formats_are_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    if ending == "m4a":
        write_m4a(path, tone(44_100), 44_100)
    else:
        soundfile.write(path, tone(44_100), 44_100)
    waveform = read_audio(path)
    assert len(waveform) == pytest.approx(48_000, abs=800)
    assert pitch(waveform) == pytest.approx(TONE, abs=1)


def test_pieces_are_the_whole_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(44_100), 44_100)
    recording = Recording(tmp_path / "a.wav")
    pieces = list(recording.chunks())
    assert max(map(len, pieces)) < 16_000
    np.testing.assert_array_equal(np.concatenate(pieces), recording.waveform())


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3"])
def test_a_truncated_recording_says_where_it_ends(tmp_path: Path, ending: str) -> None:
    whole = tmp_path / f"whole.{ending}"
    soundfile.write(whole, tone(44_100), 44_100)
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(content[: len(content) // 2])
    for path, truncated in ((whole, False), (cut, True)):
        recording = Recording(path)
        seconds = len(recording.waveform()) / 16_000
        assert recording.truncated_at == (seconds if truncated else None)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "found an empty file"),
        (b"this is text, whatever its name says\n" * 50, "found a file that cannot be decoded"),
    ],
)
def test_what_is_not_audio_is_reported(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InputError, match=problem):
        read_audio(tmp_path / "a.wav")


def test_missing_files_and_folders_are_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(InputError, match="Is a directory"):
        read_audio(tmp_path)


def test_a_recording_without_samples_and_one_with_nan_are_reported(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    with pytest.raises(InputError, match="found no sound in the file"):
        read_audio(tmp_path / "none.wav")
    soundfile.write(tmp_path / "nan.wav", np.full(9000, np.nan), 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match="found NaN or infinity"):
        read_audio(tmp_path / "nan.wav")


def test_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", tone(8000), 8000)
    recording = Recording(tmp_path / "long.wav", name="speech", max_seconds=1.5)
    with pytest.raises(InputError, match="speech: expected at most 0.025 minutes, found more"):
        recording.waveform()
