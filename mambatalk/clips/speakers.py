"""Columns of the manifest that compare the voice and the body of a clip with those of speakers."""

from typing import Any, Final

import numpy as np
import pandas as pd

from mambatalk.clips.voice import decode_voice, voice_distance

FAR: Final = 0.45
"""Distance above which two voices are not alike. The two real clips of one speaker are 0.32 apart,
clips of the sample's speakers up to 0.25; voices of different speakers are at least 0.44 apart.
"""
NEARER: Final = 0.75
"""Another speaker is named if its voice is nearer than this share of the own one's distance."""
MIN_CLIPS: Final = 2
"""Clips with a voice that another speaker needs to be named."""
MAX_COMPARED: Final = 64
"""Other clips of the speaker with whose median voice a clip is compared; more would not change
it."""


def identity_columns(table: pd.DataFrame) -> dict[str, Any]:
    """Compare voice and body shape with those of all speakers.

    Args:
        table: One row per clip: speaker, name, voice, shape_fingerprint.

    Returns:
        `voice_distance`, the distance of the voice from that of the speaker's other clips, None if
        there is none; `voice_of`, another speaker whose voice is much closer; `shape_of`, another
        speaker who has this body shape in most clips while the clip's speaker has it in few. The
        last two name the speaker, such as "2 bruno", or are None.

    """
    return {**_voice_columns(table), "shape_of": _shape_of(table)}


def _voice_columns(table: pd.DataFrame) -> dict[str, Any]:
    known = table["voice"].notna().to_numpy()
    distance = np.full(len(table), np.nan)
    named: list[str | None] = [None] * len(table)
    if not known.any():
        return {"voice_distance": distance, "voice_of": named}
    voices = np.full((len(table), len(decode_voice(table["voice"][known].iloc[0]))), np.nan)
    voices[known] = [decode_voice(text) for text in table["voice"][known]]

    places = table.groupby("speaker").indices
    members = {speaker: index[known[index]] for speaker, index in places.items()}
    centres = {
        speaker: np.median(voices[index], axis=0)
        for speaker, index in members.items()
        if len(index) >= MIN_CLIPS
    }
    for speaker, index in members.items():
        rivals = [other for other in centres if other != speaker]
        for place in index:
            others = index[index != place][:MAX_COMPARED]
            if not len(others):
                continue
            own = float(voice_distance(voices[place], np.median(voices[others], axis=0)))
            distance[place] = own
            if own > FAR and rivals and len(index) >= MIN_CLIPS:
                apart = [float(voice_distance(voices[place], centres[one])) for one in rivals]
                nearest = int(np.argmin(apart))
                if apart[nearest] < NEARER * own:
                    named[place] = _speaker_label(table, places[rivals[nearest]])
    return {"voice_distance": distance, "voice_of": named}


def _shape_of(table: pd.DataFrame) -> list[str | None]:
    shapes = table.dropna(subset=["shape_fingerprint"])
    counts = shapes.groupby(["shape_fingerprint", "speaker"]).size()
    share = counts / shapes.groupby("speaker").size().reindex(counts.index, level="speaker")
    places = table.groupby("speaker").indices
    owners = share[share > 0.5].reset_index().groupby("shape_fingerprint")["speaker"].apply(list)
    usual = {
        shape: next(iter(speakers)) for shape, speakers in owners.items() if len(speakers) == 1
    }
    named: list[str | None] = []
    for shape, speaker in zip(table["shape_fingerprint"], table["speaker"], strict=True):
        owner = usual.get(shape)
        is_foreign = owner is not None and owner != speaker
        named.append(_speaker_label(table, places[owner]) if is_foreign else None)
    return named


def _speaker_label(table: pd.DataFrame, index: Any) -> str:
    first = table.iloc[index[0]]
    return f"{first['speaker']} {first['name']}"
