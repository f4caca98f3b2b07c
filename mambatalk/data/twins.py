"""Clips that share motion or sound under different ids: copies, pieces of one recording, one recording in two splits.

Compared are fingerprints (`prints.py`): the same poses in another type of file, or cut elsewhere, are found.
"""

from typing import Any, Final

import pandas as pd

PRINTS: Final = ("motion_print", "sound_print")


def twin_columns(table: pd.DataFrame) -> dict[str, list[str | None]]:
    """Who shares what, in words; null for a clip that shares nothing.

    Args:
        table: One row per clip: clip_id, split, content, motion_print, sound_print.

    Returns:
        `motion_twin` and `sound_twin`, another clip with the same motion or sound in other files; `leak`, such a clip,
        or a plain copy, in another split.

    """
    shared = {name: _sharing(table, name) for name in PRINTS}
    split, content = (dict(zip(table["clip_id"], table[name], strict=True)) for name in ("split", "content"))
    twins = {name.replace("print", "twin"): [
        next((other for other in shared[name].get(clip, ()) if content[other] != content[clip]), None)
        for clip in table["clip_id"]] for name in PRINTS}
    leaks = [next((f"{name.split('_')[0]} of {other} in {split[other]}" for name in PRINTS
                   for other in shared[name].get(clip, ()) if split[other] and split[clip] != split[other]), None)
             if split[clip] else None for clip in table["clip_id"]]
    return {**twins, "leak": leaks}


def _sharing(table: pd.DataFrame, name: str) -> dict[Any, list[Any]]:
    """Clip to clips that share a print with it: of each split at least one, and one with other files."""
    known = table.dropna(subset=[name])
    pieces = known.assign(piece=known[name].str.split()).explode("piece")
    pieces = pieces[pieces.duplicated("piece", keep=False)]
    found: dict[Any, list[Any]] = {}
    for _, group in pieces.groupby("piece"):
        # Thousands of clips may share one piece; naming a few keeps this linear.
        few = group.drop_duplicates(["split", "content"]).groupby("split", dropna=False).head(2)["clip_id"]
        for clip in group["clip_id"]:
            found.setdefault(clip, []).extend(other for other in few if other != clip)
    return found
