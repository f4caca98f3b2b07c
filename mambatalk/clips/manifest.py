"""The manifest of a clip store: one row of facts per clip.

This module adds the columns that depend on more than one clip: exact copies, clips that share
motion or audio under different ids (copies, parts of one recording, one recording in two splits),
and statistics per speaker. Shared content is found by fingerprints (`fingerprints.py`), so it is
also found after a conversion to another file format or a different cut, and by landmarks
(`landmarks.py`), so that noise or another speed do not hide it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from mambatalk.clips.alignment import CLOCK_PACES
from mambatalk.clips.corpus_statistics import usual_columns
from mambatalk.clips.near_duplicates import find_near_duplicates
from mambatalk.clips.speakers import identity_columns
from mambatalk.corpus.layout import parse_clip_id
from mambatalk.corpus.recordings import find_id_conflict
from mambatalk.motion.skeleton import FPS

MANIFEST: Final = "manifest.parquet"
FINGERPRINTS: Final = ("motion_fingerprint", "audio_fingerprint")
MIN_LAGS: Final = 3
"""Clips with a measured lag that are needed to state the lag or the clock of a speaker."""
CLOCK_ADVANTAGE: Final = 0.1
"""How much better another clock must fit the median clip of a speaker. In clean clips of samples,
and in parts of the two public clips of BEATX, no other clock fits better; if the clock is 1 % off,
another one fits better by 0.2 or more.
"""
CLOCK_SECONDS: Final = 12
"""Seconds of the shortest clip whose clock counts. Over 12 s a clock that is 1 % off drifts by
0.12 s; in three clean clips of 6 s another one may fit better by chance.
"""


def build_manifest(rows: Sequence[Mapping[str, Any]], splits: Mapping[str, str]) -> pd.DataFrame:
    """Build the manifest from the rows of single clips.

    Args:
        rows: One row per clip, sorted by clip id.
        splits: Split of each clip id; clips without an entry have no split.

    """
    table = pd.DataFrame([{**row, "split": splits.get(row["clip_id"])} for row in rows])
    same_content = table.groupby("content")
    table["copies"] = same_content["clip_id"].transform("size").astype("float64")
    table["splits_of_content"] = same_content["split"].transform("nunique").astype("float64")
    clips = (parse_clip_id(clip_id) for clip_id in table["clip_id"])
    table["id_conflict"] = pd.Series([find_id_conflict(clip) for clip in clips], dtype="object")
    return table.assign(
        **duplicate_columns(table),
        **speaker_columns(table),
        **identity_columns(table),
        **usual_columns(table),
    )


def duplicate_columns(table: pd.DataFrame) -> dict[str, list[str | None]]:
    """Name clips that share motion or audio with other clips.

    Clips whose files are all equal are counted by `copies` and are left out here.

    Args:
        table: One row per clip: clip_id, split, content, and fingerprints and landmarks of motion
            and audio.

    Returns:
        `motion_duplicate` and `audio_duplicate`, the id of a clip with the same motion or audio in
        different files; `split_leak`, a description of such a clip in another split. None for
        clips that share nothing.

    """
    # A clip outside the split table has None, which pandas 3 turns into NaN.
    known_split = table["split"].astype(object).where(table["split"].notna(), None)
    split = dict(zip(table["clip_id"], known_split, strict=True))
    content = dict(zip(table["clip_id"], table["content"], strict=True))
    columns: dict[str, list[str | None]] = {}
    leaks: dict[str, str | None] = dict.fromkeys(table["clip_id"])
    for name in FINGERPRINTS:
        kind = name.removesuffix("_fingerprint")
        sharing = _clips_sharing(table, name)
        for clip, copies in find_near_duplicates(table, kind).items():
            sharing.setdefault(clip, []).extend(copy.clip_id for copy in copies)
        duplicates = {
            clip: [other for other in others if content[other] != content[clip]]
            for clip, others in sharing.items()
        }
        columns[f"{kind}_duplicate"] = [
            next(iter(duplicates.get(clip, ())), None) for clip in table["clip_id"]
        ]
        for clip, others in duplicates.items():
            in_other_split = [
                other
                for other in others
                if split[clip] and split[other] and split[other] != split[clip]
            ]
            if in_other_split and leaks[clip] is None:
                other = in_other_split[0]
                leaks[clip] = f"{kind} of {other} in {split[other]}"
    return {**columns, "split_leak": list(leaks.values())}


def _clips_sharing(table: pd.DataFrame, name: str) -> dict[Any, list[Any]]:
    """Map each clip to clips that share a part of its fingerprint.

    Only a few of them are listed, but at least one of each split and one with different files.
    """
    known = table.dropna(subset=[name])[["clip_id", "split", "content", name]]
    parts = known.assign(part=known[name].str.split()).explode("part")
    parts = parts[parts.duplicated("part", keep=False)].sort_values("part", kind="stable")
    # Thousands of clips may share a part. Listing a few keeps the time linear.
    distinct = parts.drop_duplicates(["part", "split", "content"])
    few = distinct.groupby(["part", "split"], dropna=False).head(2)
    pairs = parts[["part", "clip_id"]].merge(few[["part", "clip_id"]], on="part")
    pairs = pairs[pairs["clip_id_x"] != pairs["clip_id_y"]]
    sharing: dict[Any, list[Any]] = {}
    for clip, other in zip(pairs["clip_id_x"], pairs["clip_id_y"], strict=True):
        sharing.setdefault(clip, []).append(other)
    return sharing


def speaker_columns(table: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    """Return statistics of each clip's speaker.

    Args:
        table: One row per clip: speaker, name, split, frames, mouth_lag, clock_fits,
            shape_fingerprint.

    Returns:
        `speaker_lag`, the median of `mouth_lag` in seconds; `speaker_clock`, the pace at which the
        speaker's clips together fit best, as `clock` for one clip; `speaker_names`, the number of
        names used with the speaker's id; `training_clips` of the speaker; `shape_share`, the share
        of the speaker's clips that have the body shape of this clip.

    """
    by_speaker = table.groupby("speaker")
    lags = table["mouth_lag"].astype("float64")
    enough_lags = lags.notna().groupby(table["speaker"]).transform("sum") >= MIN_LAGS
    in_training = table["split"].isin(("train", "additional"))
    has_shape = table["shape_fingerprint"].notna()
    by_shape = table[has_shape].groupby(["speaker", "shape_fingerprint"])
    same_shape = by_shape["shape_fingerprint"].transform("size")
    clips_with_shape = has_shape.groupby(table["speaker"]).transform("sum")
    training_clips = in_training.groupby(table["speaker"]).transform("sum")
    return {
        "speaker_lag": lags.groupby(table["speaker"]).transform("median").where(enough_lags),
        "speaker_clock": _speaker_clock(table),
        "speaker_names": by_speaker["name"].transform("nunique").astype("float64"),
        "training_clips": training_clips.astype("float64"),
        "shape_share": (same_shape / clips_with_shape).reindex(table.index),
    }


def _speaker_clock(table: pd.DataFrame) -> "pd.Series[float]":
    """Return the pace of each clip's speaker; NaN if too few clips are long enough.

    A clock that is 1 % off moves a short clip by less than the mouth's uncertainty, but all clips
    into the same direction.
    """
    paces = np.array(CLOCK_PACES)
    usual = int(np.argmin(np.abs(paces - 1)))
    clocks = {}
    long = table["frames"] >= CLOCK_SECONDS * FPS
    for speaker, fits in table["clock_fits"][long].dropna().groupby(table["speaker"]):
        if len(fits) >= MIN_LAGS:
            significance = np.array(fits.tolist())
            advantage = np.median(significance - significance[:, [usual]], axis=0)
            best = int(advantage.argmax())
            clocks[speaker] = paces[best] if advantage[best] >= CLOCK_ADVANTAGE else 1.0
    return table["speaker"].map(clocks).astype("float64")
