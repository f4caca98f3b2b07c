"""Clips that share motion or sound under different ids: copies, pieces of one recording, one
recording in two splits.

Compared are fingerprints (`prints.py`): the same poses in another type of file, or cut elsewhere,
are found.
"""

from typing import Any, Final

import pandas as pd

PRINTS: Final = ("motion_print", "sound_print")


def twin_columns(table: pd.DataFrame) -> dict[str, list[str | None]]:
    """Who shares what, in words; null for a clip that shares nothing.

    Args:
        table: One row per clip: clip_id, split, content, motion_print, sound_print.

    Returns:
        `motion_twin` and `sound_twin`, a clip with the same motion or sound in other files;
        `part_leak`, such a clip in another split. Plain copies of both files are counted by
        `content` and left out here.

    """
    split, content = (
        dict(zip(table["clip_id"], table[name], strict=True)) for name in ("split", "content")
    )
    columns: dict[str, list[str | None]] = {}
    leaks: dict[str, str | None] = dict.fromkeys(table["clip_id"])
    for name in PRINTS:
        kind = name.removesuffix("_print")
        shared = {
            clip: [other for other in others if content[other] != content[clip]]
            for clip, others in _sharing(table, name).items()
        }
        columns[f"{kind}_twin"] = [
            next(iter(shared.get(clip, ())), None) for clip in table["clip_id"]
        ]
        for clip, others in shared.items():
            far = [
                other
                for other in others
                if split[clip] and split[other] and split[other] != split[clip]
            ]
            if far:
                leaks[clip] = leaks[clip] or f"{kind} of {far[0]} in {split[far[0]]}"
    return {**columns, "part_leak": list(leaks.values())}


def _sharing(table: pd.DataFrame, name: str) -> dict[Any, list[Any]]:
    """Clip to clips that share a print with it: of each split at least one, and one with other
    files.
    """
    known = table.dropna(subset=[name])
    pieces = known.assign(piece=known[name].str.split()).explode("piece")
    pieces = pieces[pieces.duplicated("piece", keep=False)]
    found: dict[Any, list[Any]] = {}
    for _, group in pieces.groupby("piece"):
        # Thousands of clips may share one piece; naming a few keeps this linear.
        few = (
            group.drop_duplicates(["split", "content"])
            .groupby("split", dropna=False)
            .head(2)["clip_id"]
        )
        for clip in group["clip_id"]:
            found.setdefault(clip, []).extend(other for other in few if other != clip)
    return found
