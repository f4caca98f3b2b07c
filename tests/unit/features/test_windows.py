"""Windows of clips, their audio, and the memory-mapped store that they are cut from."""

import io
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mambatalk.audio.channels import amplitude_envelope, audio_channels, expand_ctc, normalise
from mambatalk.errors import InputError
from mambatalk.features.store import ClipInfo, FeatureStore, open_features
from mambatalk.features.windows import (
    clip_ctc,
    gather_batch,
    usable_frames,
    window_samples,
    windows,
)
from mambatalk.fidelity import CORRECTED, PUBLISHED, FidelityRules
from tests.helpers.feature_folder import write_feature_folder

LENGTH = 64
SAMPLES = 34133
"""Audio samples of a window of 64 frames."""
LENGTHS = st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 600_000)), min_size=1, max_size=4)
"""Frames and audio samples of one to four clips."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_feature_folder(
        tmp_path_factory.mktemp("features") / "f",
        seconds=(6.0, 4.0, 5.0, 7.37),
        splits=("train", "val", "test", "train"),
        ctc=(3,),
    )


@pytest.fixture(scope="module")
def store(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return open_features(folder, tmp_path_factory.mktemp("cache"))


class StoreWithoutArrays(FeatureStore):
    """A store for tests of where windows lie, which needs the lengths of clips only."""

    def __init__(self, clips: list[ClipInfo]) -> None:
        self.clips = clips


def make_clip(
    frames: int, samples: int, *, name: str = "1", ctc: NDArray[np.uint8] | None = None
) -> ClipInfo:
    return ClipInfo(
        clip_id=name,
        speaker_id=1,
        speaker_index=0,
        split="train",
        frames=frames,
        first_frame=0,
        samples=samples,
        first_sample=0,
        wave_mean=0.0,
        wave_std=1.0,
        has_text=True,
        betas=np.zeros(300, np.float32),
        ctc=ctc,
    )


def waveform_of(store: FeatureStore, clip: ClipInfo) -> torch.Tensor:
    return torch.from_numpy(store.waveform(clip).copy())


@given(
    LENGTHS,
    st.integers(1, 100),
    st.integers(1, 70),
    st.booleans(),
    st.sampled_from([PUBLISHED, CORRECTED]),
)
def test_windows_lie_inside_their_clip_and_its_audio(
    lengths: list[tuple[int, int]], length: int, stride: int, audio: bool, rules: FidelityRules
) -> None:
    clips = [make_clip(*sizes, name=str(k)) for k, sizes in enumerate(lengths)]
    store = StoreWithoutArrays(clips)
    rows = windows(store, "train", length=length, stride=stride, audio=audio, rules=rules)
    for index, first in rows:
        assert first >= 0
        assert first + length <= clips[index].frames
        if audio:
            assert first * 16000 // 30 + window_samples(length) <= clips[index].samples
    assert len(np.unique(rows, axis=0)) == len(rows)


@given(st.integers(1, 40), st.integers(1, 40))
def test_published_windows_use_whole_seconds(motion_seconds: int, audio_seconds: int) -> None:
    clip = make_clip(motion_seconds * 30 + 29, audio_seconds * 16000 + 15999)
    store = StoreWithoutArrays([clip])
    for audio, seconds in ((True, min(motion_seconds, audio_seconds)), (False, motion_seconds)):
        rows = windows(store, "train", length=64, stride=20, audio=audio, rules=PUBLISHED)
        assert len(rows) == max(0, (30 * seconds - 64) // 20 + 1)


@given(st.integers(1, 2000), st.integers(0, 2_000_000))
def test_corrected_windows_use_every_frame_with_audio(frames: int, samples: int) -> None:
    clip = make_clip(frames, samples)
    usable = usable_frames(clip, audio=True, rules=CORRECTED)
    assert usable * 16000 // 30 <= samples
    assert usable == frames or (usable + 1) * 16000 / 30 > samples
    assert usable_frames(clip, audio=False, rules=CORRECTED) == frames


@given(st.integers(1, 900), st.integers(1, 70_000), st.data())
def test_ctc_ids_of_a_slice_are_a_slice_of_all_ids(
    count: int, samples: int, data: st.DataObject
) -> None:
    ids = np.random.default_rng(count).integers(0, 32, count).astype(np.uint8)
    clip = make_clip(1, samples, ctc=ids)
    first = data.draw(st.integers(0, samples - 1))
    length = data.draw(st.integers(0, samples - first))
    all_ids = expand_ctc(torch.from_numpy(ids), samples)
    whole = clip_ctc(clip)
    part = clip_ctc(clip, first, length)
    assert whole is not None
    assert part is not None
    assert torch.equal(whole, all_ids)
    assert torch.equal(part, all_ids[first : first + length])


def test_a_split_without_clips_is_an_input_error(store: FeatureStore) -> None:
    with pytest.raises(InputError, match="expected at least one clip in split additional"):
        windows(store, "additional", length=LENGTH, stride=20, audio=False, rules=CORRECTED)


def test_a_batch_holds_the_frames_of_its_windows(store: FeatureStore) -> None:
    rows = np.array([[0, 20], [3, 7], [2, 86]])
    batch = gather_batch(store, rows, LENGTH, audio=False)
    for k, (index, first) in enumerate(rows):
        clip = store.clips[index]
        frames = slice(clip.first_frame + first, clip.first_frame + first + LENGTH)
        np.testing.assert_array_equal(batch.motion[k], store.motion[frames])
        np.testing.assert_array_equal(batch.expressions[k], store.expressions[frames])
        np.testing.assert_array_equal(batch.words[k], store.words[frames])
        np.testing.assert_array_equal(batch.betas[k], clip.betas)
        assert batch.speaker_index[k].tolist() == [clip.speaker_index] * LENGTH
        assert int(batch.frames[k]) == frames.start
    assert batch.audio is None


def test_the_audio_of_a_window_is_a_slice_of_the_clips_audio(store: FeatureStore) -> None:
    """Also at the end of a clip, where the envelope of a window needs padding."""
    rows = []
    for index, clip in enumerate(store.clips):
        last = usable_frames(clip, audio=True, rules=CORRECTED) - LENGTH
        rows += [(index, first) for first in (0, 1, 20, last)]
    audio = gather_batch(store, np.array(rows), LENGTH, audio=True).audio
    assert audio is not None
    assert audio.shape == (len(rows), SAMPLES, 3)
    for channels, (index, first) in zip(audio, rows, strict=True):
        clip = store.clips[index]
        waveform = waveform_of(store, clip)
        start = int(np.floor(first * 16000 / 30))
        samples = slice(start, start + SAMPLES)
        envelope = amplitude_envelope(waveform)[samples]
        normalised = normalise(waveform, clip.wave_mean, clip.wave_std)[samples]
        torch.testing.assert_close(channels[:, 0], envelope, rtol=0, atol=0)
        torch.testing.assert_close(channels[:, 2], normalised)


def test_clips_with_and_without_ctc_share_a_batch(store: FeatureStore) -> None:
    rows = np.array([[0, 20], [3, 7], [2, 10]])
    audio = gather_batch(store, rows, LENGTH, audio=True).audio
    assert audio is not None
    tokens = audio[..., 1]
    clip = store.clips[3]
    all_ids = expand_ctc(torch.from_numpy(clip.ctc), clip.samples)
    start = 7 * 16000 // 30
    assert not tokens[0].any()
    assert not tokens[2].any()
    torch.testing.assert_close(tokens[1], all_ids[start : start + SAMPLES].float())


def test_audio_channels_of_a_batch_equal_those_of_the_clip(store: FeatureStore) -> None:
    clip = store.clips[1]
    end = clip.first_sample + clip.samples + 1023
    padded = torch.from_numpy(store.samples[clip.first_sample : end].copy())
    channels = audio_channels(padded, clip.wave_mean, clip.wave_std)
    assert channels.shape == (clip.samples, 3)
    audio = gather_batch(store, np.array([[1, 0]]), LENGTH, audio=True).audio
    assert audio is not None
    torch.testing.assert_close(audio[0], channels[:SAMPLES])


def test_the_cache_equals_the_features_and_is_decoded_once(
    folder: Path, store: FeatureStore, tmp_path: Path
) -> None:
    again = open_features(folder, tmp_path)
    first_clip = pq.ParquetFile(folder / "frames-00000.parquet").read_row_group(0)
    expected = np.array(first_clip["motion"].to_pylist(), np.float32)
    np.testing.assert_array_equal(again.motion[: len(first_clip)], expected)
    np.testing.assert_array_equal(again.samples, store.samples)

    modified = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    open_features(folder, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == modified


def flip_byte(path: Path, place: int) -> None:
    """Change one byte, and nothing else that a directory listing shows."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("name", ["motion", "expressions", "words", "wave"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: flip_byte(path, 90),
        lambda path: flip_byte(path, 2000),
        lambda path: flip_byte(path, -1),
        truncate,
        lambda path: path.unlink(),
        lambda path: flip_byte(path.with_name("checksums.json"), 40),
        lambda path: path.with_name("checksums.json").unlink(),
    ],
    ids=["header", "value", "last", "truncated", "missing", "checksum", "no-checksums"],
)
def test_a_damaged_cache_is_decoded_again_with_one_line(
    folder: Path,
    store: FeatureStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
    name: str,
) -> None:
    open_features(folder, tmp_path)
    (path,) = tmp_path.rglob(f"{name}.npy")
    damage(path)
    again = open_features(folder, tmp_path)
    for array in ("motion", "expressions", "words", "samples"):
        np.testing.assert_array_equal(getattr(again, array), getattr(store, array))
    (line,) = caplog.messages
    assert line.startswith(str(path.parent))
    assert line.endswith("decoding the features again")
    caplog.clear()
    open_features(folder, tmp_path)
    assert caplog.messages == []


def sum_of_motion(folder: Path, cache: Path) -> float:
    return float(open_features(folder, cache).motion.sum(dtype=np.float64))


def test_processes_that_start_together_share_one_cache(
    folder: Path, store: FeatureStore, tmp_path: Path
) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        sums = pool.starmap(sum_of_motion, [(folder, tmp_path)] * 4)
    assert sums == [float(store.motion.sum(dtype=np.float64))] * 4
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".lock"]


def copy_with_changes(folder: Path, out: Path, index: int, **values: Any) -> Path:
    """Copy a features folder and change columns of one clip."""
    shutil.copytree(folder, out)
    table = pq.read_table(out / "clips.parquet")
    rows = table.to_pylist()
    rows[index].update(values)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), out / "clips.parquet")
    return out


@pytest.mark.parametrize("column", ["samples", "frames"])
def test_a_clip_of_another_length_than_listed_is_an_input_error(
    folder: Path, store: FeatureStore, tmp_path: Path, column: str
) -> None:
    length = getattr(store.clips[1], column)
    bad = copy_with_changes(folder, tmp_path / "f", 1, **{column: length - 7})
    message = f"clip 2_clip_0_1_1: expected {length - 7} {column} .*, found {length}"
    with pytest.raises(InputError, match=message):
        open_features(bad, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_audio_that_cannot_be_decoded_is_an_input_error(folder: Path, tmp_path: Path) -> None:
    bad = copy_with_changes(folder, tmp_path / "f", 0, audio=b"not FLAC")
    with pytest.raises(InputError, match="clip 1_clip_0_0_0: expected FLAC audio"):
        open_features(bad, tmp_path / "cache")


def test_audio_at_another_rate_is_refused(tmp_path: Path) -> None:
    folder = write_feature_folder(tmp_path / "f")
    table = pq.read_table(folder / "clips.parquet")
    audio = io.BytesIO()
    soundfile.write(audio, np.zeros(8000, np.float32), 8000, format="FLAC")
    rows = table.to_pylist()
    rows[1]["audio"] = audio.getvalue()
    pq.write_table(pa.Table.from_pylist(rows, table.schema), folder / "clips.parquet")
    with pytest.raises(InputError, match="expected audio at 16000 Hz, found 8000 Hz"):
        open_features(folder, tmp_path / "cache")
