"""Columns of the manifest that depend on several clips: duplicates, leaks and speakers."""

from typing import Any

import pandas as pd
import pytest

from mambatalk.clips.alignment import CLOCK_PACES
from mambatalk.clips.manifest import build_manifest, duplicate_columns, speaker_columns


def clips(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return a table of clips; fields that a row leaves out have distinct values."""
    table = []
    for number, row in enumerate(rows):
        default = {
            "clip_id": f"clip{number}",
            "split": "train",
            "content": f"content{number}",
            "motion_fingerprint": f"m{number}a m{number}b",
            "audio_fingerprint": f"a{number}",
            "motion_landmarks": None,
            "audio_landmarks": None,
            "voice": None,
            "speaker": 1,
            "name": "ada",
            "mouth_lag": None,
            "clock_fits": None,
            "frames": 600,
            "shape_fingerprint": "shape",
            "foot_height": None,
            "pose_mean": None,
            "expression_spread": None,
        }
        table.append(default | row)
    return pd.DataFrame(table)


def test_different_clips_have_no_duplicates() -> None:
    columns = duplicate_columns(clips({}, {}))
    assert columns == {
        "motion_duplicate": [None, None],
        "audio_duplicate": [None, None],
        "split_leak": [None, None],
    }


def test_clips_that_share_one_frame_are_duplicates_of_each_other() -> None:
    table = clips({"motion_fingerprint": "x y"}, {"motion_fingerprint": "y z"}, {})
    columns = duplicate_columns(table)
    assert columns["motion_duplicate"] == ["clip1", "clip0", None]
    assert columns["audio_duplicate"] == [None] * 3
    assert columns["split_leak"] == [None] * 3


def test_a_duplicate_in_another_split_is_a_leak() -> None:
    table = clips({"audio_fingerprint": "a"}, {"audio_fingerprint": "a", "split": "test"})
    assert duplicate_columns(table)["split_leak"] == [
        "audio of clip1 in test",
        "audio of clip0 in train",
    ]


@pytest.mark.parametrize("split", [None, "train"])
def test_a_duplicate_without_another_split_is_not_a_leak(split: str | None) -> None:
    table = clips({"audio_fingerprint": "a"}, {"audio_fingerprint": "a", "split": split})
    assert duplicate_columns(table)["split_leak"] == [None, None]


def test_copies_of_both_files_are_counted_instead_of_listed_as_duplicates() -> None:
    same = {"content": "same", "motion_fingerprint": "x", "audio_fingerprint": "a"}
    ids = [{"clip_id": f"1_ada_0_{number}_{number}"} for number in (1, 2, 3)]
    table = clips(same | ids[0], same | ids[1], ids[2])
    rows: Any = table.drop(columns="split").to_dict("records")
    splits = dict(zip(table["clip_id"], ("train", "test", "train"), strict=True))
    table = build_manifest(rows, splits)
    assert list(table["copies"]) == [2, 2, 1]
    assert list(table["splits_of_content"]) == [2, 2, 1]
    assert table["motion_duplicate"].isna().all()


def test_a_clip_without_fingerprint_has_no_duplicates() -> None:
    table = clips({"motion_fingerprint": None}, {"motion_fingerprint": None})
    assert duplicate_columns(table)["motion_duplicate"] == [None, None]


def test_a_leak_is_found_among_many_copies_in_one_split() -> None:
    """Few of the clips with the same frame are compared, but at least one of each split."""
    shared = {"motion_fingerprint": "x"}
    table = clips(*([shared] * 50), {**shared, "split": "val"})
    assert all(duplicate_columns(table)["split_leak"])


def test_the_lag_of_a_speaker_needs_three_clips_with_a_lag() -> None:
    two_lags = [{"speaker": 2, "mouth_lag": 0.5}] * 2 + [{"speaker": 2}]
    three_lags = [{"mouth_lag": lag} for lag in (0.1, 0.4, 0.2)]
    columns = speaker_columns(clips(*two_lags, *three_lags, {}))
    assert columns["speaker_lag"][:3].isna().all()
    assert list(columns["speaker_lag"][3:]) == [0.2] * 4


def test_the_clock_of_a_speaker_is_that_of_the_median_clip() -> None:
    fast = [5.0 if pace != CLOCK_PACES[3] else 5.3 for pace in CLOCK_PACES]
    right = [5.0 if pace != 1 else 5.3 for pace in CLOCK_PACES]
    table = clips(
        *({"clock_fits": fits} for fits in (fast, fast, right)),
        *({"clock_fits": fits, "speaker": 2} for fits in (fast, right, right)),
        *({"clock_fits": fits, "speaker": 3} for fits in (fast, fast, None)),
        # Too short to tell.
        *[{"clock_fits": fast, "speaker": 4, "frames": 300}] * 3,
    )
    clock = list(speaker_columns(table)["speaker_clock"])
    assert clock[:6] == [CLOCK_PACES[3]] * 3 + [1.0] * 3
    assert all(pd.isna(value) for value in clock[6:])


def test_names_training_clips_and_shapes_are_counted_by_speaker() -> None:
    table = clips(
        {"split": "additional"},
        {"name": "eve", "split": "val", "shape_fingerprint": "other"},
        {"speaker": 2, "split": "test", "shape_fingerprint": None},
    )
    columns = speaker_columns(table)
    assert list(columns["speaker_names"]) == [2, 2, 1]
    assert list(columns["training_clips"]) == [1, 1, 0]
    assert list(columns["shape_share"][:2]) == [0.5, 0.5]
    assert pd.isna(columns["shape_share"][2])
