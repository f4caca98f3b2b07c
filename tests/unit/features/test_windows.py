"""Windows of clips, the sound under them, and the mapped store they are cut from."""

import multiprocessing
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambatalk.audio.channels import amplitude_envelope, audio_channels, expand_ctc, normalise
from mambatalk.errors import InputError
from mambatalk.features.store import ClipInfo, FeatureStore, open_features
from mambatalk.features.windows import (
    batch,
    clip_ctc,
    usable_frames,
    window_samples,
    windows,
)
from mambatalk.fidelity import CORRECTED, PUBLISHED, FidelityRules
from tests.helpers.feature_folder import write_feature_folder

LENGTH = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_feature_folder(
        tmp_path_factory.mktemp("features") / "f",
        seconds=(6.0, 4.0, 5.0, 7.37),
        splits=("train", "val", "test", "train"),
        ctc=(3,),
    )


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory):
    return open_features(folder, tmp_path_factory.mktemp("cache"))


class Clips(FeatureStore):
    """A store of clip facts alone: where windows lie needs no array."""

    def __init__(self, clips):
        self.clips = clips


def clip(name, frames, samples, *, ctc=None):
    return ClipInfo(
        clip_id=name,
        speaker=1,
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


lengths = st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 600_000)), min_size=1, max_size=4)


@given(
    lengths,
    st.integers(1, 100),
    st.integers(1, 70),
    st.booleans(),
    st.sampled_from(["published", "corrected"]),
)
def test_windows_stay_inside_their_clip_and_its_sound(facts, length, stride, audio, fidelity):
    clips = [clip(str(k), *fact) for k, fact in enumerate(facts)]
    rows = windows(
        Clips(clips),
        "train",
        length=length,
        stride=stride,
        audio=audio,
        rules=FidelityRules.of(fidelity),
    )
    for place, first in rows:
        assert first >= 0
        assert first + length <= clips[place].frames
        if audio:
            assert first * 16000 // 30 + window_samples(length) <= clips[place].samples
    assert len(np.unique(rows, axis=0)) == len(rows)


@given(st.integers(1, 40), st.integers(1, 40))
def test_published_windows_of_whole_seconds(motion_seconds, sound_seconds):
    one = clip("1", motion_seconds * 30 + 29, sound_seconds * 16000 + 15999)
    for audio, seconds in ((True, min(motion_seconds, sound_seconds)), (False, motion_seconds)):
        rows = windows(Clips([one]), "train", length=64, stride=20, audio=audio, rules=PUBLISHED)
        assert len(rows) == max(0, (30 * seconds - 64) // 20 + 1)


@given(st.integers(1, 2000), st.integers(0, 2_000_000))
def test_corrected_windows_leave_no_frame_that_has_sound(frames, samples):
    usable = usable_frames(clip("1", frames, samples), audio=True, rules=CORRECTED)
    assert usable * 16000 // 30 <= samples
    assert usable == frames or (usable + 1) * 16000 / 30 > samples
    assert usable_frames(clip("1", frames, samples), audio=False, rules=CORRECTED) == frames


@given(st.integers(1, 900), st.integers(1, 70_000), st.data())
def test_ctc_of_a_slice_is_the_slice_of_the_whole(count, samples, data):
    ids = np.random.default_rng(count).integers(0, 32, count).astype(np.uint8)
    one = clip("1", 1, samples, ctc=ids)
    first = data.draw(st.integers(0, samples - 1))
    length = data.draw(st.integers(0, samples - first))
    whole = expand_ctc(torch.from_numpy(ids), samples)
    assert torch.equal(clip_ctc(one), whole)
    assert torch.equal(clip_ctc(one, first, length), whole[first : first + length])


def test_an_absent_split_is_one_line(store):
    with pytest.raises(InputError, match="no clip in split additional"):
        windows(store, "additional", length=LENGTH, stride=20, audio=False, rules=CORRECTED)


def test_a_batch_holds_the_frames_of_its_clips(store):
    rows = np.array([[0, 20], [3, 7], [2, 86]])
    got = batch(store, rows, LENGTH, audio=False)
    for k, (place, first) in enumerate(rows):
        one = store.clips[place]
        where = slice(one.first_frame + first, one.first_frame + first + LENGTH)
        np.testing.assert_array_equal(got.motion[k], store.motion[where])
        np.testing.assert_array_equal(got.expressions[k], store.expressions[where])
        np.testing.assert_array_equal(got.words[k], store.words[where])
        np.testing.assert_array_equal(got.betas[k], one.betas)
        assert got.speaker[k].tolist() == [one.speaker_index] * LENGTH
        assert int(got.frames[k]) == where.start
    assert got.audio is None


def test_the_sound_of_a_window_is_the_slice_of_the_whole_clip(store):
    """Also where the envelope looks past the end: it must be what the whole clip has there, the
    published tail.
    """
    rows = np.array(
        [
            (place, first)
            for place, one in enumerate(store.clips)
            for first in (0, 1, 20, usable_frames(one, audio=True, rules=CORRECTED) - LENGTH)
        ]
    )
    got = batch(store, rows, LENGTH, audio=True).audio
    assert got.shape == (len(rows), 34133, 3)
    for channels, (place, first) in zip(got, rows, strict=True):
        one = store.clips[place]
        wave = torch.from_numpy(store.wave(one).copy())
        start = int(np.floor(first * 16000 / 30))
        where = slice(start, start + 34133)
        torch.testing.assert_close(channels[:, 0], amplitude_envelope(wave)[where], rtol=0, atol=0)
        torch.testing.assert_close(
            channels[:, 2], normalise(wave, one.wave_mean, one.wave_std)[where]
        )


def test_clips_with_and_without_ctc_share_a_batch(store):
    got = batch(store, np.array([[0, 20], [3, 7], [2, 10]]), LENGTH, audio=True).audio[..., 1]
    start = 7 * 16000 // 30
    whole = expand_ctc(torch.from_numpy(store.clips[3].ctc), store.clips[3].samples)
    assert not got[0].any()
    assert not got[2].any()
    torch.testing.assert_close(got[1], whole[start : start + 34133].float())


def test_channels_of_a_whole_clip_and_of_a_batch_are_the_same(store):
    one = store.clips[1]
    padded = torch.from_numpy(
        store.samples[one.first_sample : one.first_sample + one.samples + 1023].copy()
    )
    whole = audio_channels(padded, one.wave_mean, one.wave_std)
    assert whole.shape == (one.samples, 3)
    torch.testing.assert_close(
        batch(store, np.array([[1, 0]]), LENGTH, audio=True).audio[0], whole[:34133]
    )


def test_the_cache_holds_what_the_features_hold_and_is_used_again(folder, store, tmp_path):
    again = open_features(folder, tmp_path)
    first = pq.ParquetFile(folder / "frames-00000.parquet").read_row_group(0)
    np.testing.assert_array_equal(
        again.motion[: len(first)], np.array(first["motion"].to_pylist(), np.float32)
    )
    np.testing.assert_array_equal(again.samples, store.samples)
    decoded = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    open_features(folder, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == decoded


def _open(folder, cache):
    return float(open_features(folder, cache).motion.sum(dtype=np.float64))


def test_stages_that_start_together_decode_into_one_cache(folder, store, tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        sums = pool.starmap(_open, [(folder, tmp_path)] * 4)
    assert sums == [float(store.motion.sum(dtype=np.float64))] * 4
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".lock"]


def spoilt(folder, out, place, **values):
    """A copy of a features folder with other values in the row of one clip."""
    shutil.copytree(folder, out)
    table = pq.read_table(out / "clips.parquet")
    rows = table.to_pylist()
    rows[place].update(values)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), out / "clips.parquet")
    return out


@pytest.mark.parametrize("column", ["samples", "frames"])
def test_a_clip_whose_length_is_not_its_column_is_one_line(folder, store, tmp_path, column):
    true = getattr(store.clips[1], column)
    bad = spoilt(folder, tmp_path / "f", 1, **{column: true - 7})
    with pytest.raises(
        InputError, match=f"clip 2_clip_0_1_1: found {true} {column}; expected the {true - 7} of"
    ):
        open_features(bad, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_sound_that_does_not_decode_is_one_line(folder, tmp_path):
    with pytest.raises(InputError, match="clip 1_clip_0_0_0: found sound that does not decode"):
        open_features(
            spoilt(folder, tmp_path / "f", 0, audio=b"no FLAC at all"), tmp_path / "cache"
        )
