"""Faults that no clip shows by itself: copies, leaks, speakers with an offset, under two names,
never trained on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mambatalk.clips.store import ClipStore
from mambatalk.corpus.layout import KINDS
from mambatalk.quality.rules import STANDARD_BOUNDS, apply_rules, clip_rules
from tests.faults.conftest import Findings, findings
from tests.faults.damage import RATE, Corpus

TakeIn = Callable[[Path], ClipStore]
TRAINED, COPY = "3_celia_0_4_4", "3_celia_0_9_9"
ADA = tuple(f"1_ada_0_{number}_{number}" for number in range(1, 5))

UNSURE = "1_ada_0_3_3"
"""Too short to tell a lag by itself, and left out with the rest of its speaker."""


def offset_speaker(corpus: Corpus) -> None:
    """As speaker 12 of BEATX was cut: sound and motion of all clips an offset apart, each of the
    right length.
    """
    for clip in ADA:
        corpus.wave(clip, lambda samples: samples[round(0.4 * RATE) :])
        corpus.path(clip, "textgrid").unlink()


def other_sound(corpus: Corpus) -> None:
    corpus.copy(TRAINED, COPY, "train", ("motion",))
    noise = np.random.default_rng(0).normal(0, 0.1, corpus.frames(COPY) * RATE // 30)
    soundfile.write(corpus.path(COPY, "wave"), noise, RATE)


def other_motion(corpus: Corpus) -> None:
    """The same sound to motion of its own, as two people in one room have."""
    corpus.copy(TRAINED, COPY, "train")
    corpus.motion(COPY, lambda arrays: arrays.update(poses=0.9 * arrays["poses"]))


def encoded_anew(corpus: Corpus) -> None:
    corpus.copy(TRAINED, COPY, "test")
    corpus.motion(COPY, lambda arrays: None, save=np.savez_compressed)
    corpus.wave(COPY, lambda samples: samples, subtype="PCM_24")


def a_piece(corpus: Corpus) -> None:
    """Six seconds from the middle of a training clip among the test clips."""
    corpus.copy(TRAINED, COPY, "test", ("motion", "wave"))
    corpus.motion(
        COPY,
        lambda arrays: {
            name: value[70:250] if name in ("poses", "trans", "expressions") else value
            for name, value in arrays.items()
        },
    )
    corpus.wave(COPY, lambda samples: samples[70 * RATE // 30 : 250 * RATE // 30])


def only_tested(corpus: Corpus) -> None:
    corpus.table(
        lambda text: "".join(
            line.replace(",val", ",test").replace(",train", ",test")
            if line.startswith("1_ada")
            else line
            for line in text.splitlines(keepends=True)
        )
    )


def other_name(corpus: Corpus) -> None:
    for kind in KINDS:
        corpus.path("1_ada_0_4_4", kind).rename(corpus.path("1_eve_0_4_4", kind))
    corpus.table(lambda text: text.replace("1_ada_0_4_4", "1_eve_0_4_4"))


PLANTED: list[tuple[str, Callable[[Corpus], Any], Findings]] = [
    (
        "a clip under two ids",
        lambda c: c.copy(TRAINED, COPY, "train"),
        {TRAINED: {"duplicate"}, COPY: {"duplicate"}},
    ),
    (
        "a training clip among the test clips",
        lambda c: c.copy(TRAINED, COPY, "test"),
        {TRAINED: {"duplicate", "leak"}, COPY: {"duplicate", "leak"}},
    ),
    (
        "the same, encoded anew",
        encoded_anew,
        {clip: {"same_motion", "same_sound", "leak_of_a_part"} for clip in (TRAINED, COPY)},
    ),
    (
        "a piece of a training clip among the test clips",
        a_piece,
        {
            TRAINED: {"same_motion", "leak_of_a_part"},
            COPY: {"same_motion", "leak_of_a_part", "text"},
        },
    ),
    (
        "one motion to two sounds",
        other_sound,
        {TRAINED: {"same_motion"}, COPY: {"same_motion", "text"}},
    ),
    ("one sound to two motions", other_motion, {TRAINED: {"same_sound"}, COPY: {"same_sound"}}),
    (
        "sound before motion in all clips of a speaker",
        offset_speaker,
        {
            clip: {"speaker_lag", "mouth_fits_sound", "text"}
            - ({"mouth_fits_sound"} if clip == UNSURE else set())
            for clip in ADA
        },
    ),
    (
        "one speaker number under two names",
        other_name,
        {clip: {"speaker_name"} for clip in (*ADA[:3], "1_eve_0_4_4")},
    ),
    ("a speaker of test clips alone", only_tested, {clip: {"speaker_trains"} for clip in ADA}),
    (
        "another body in one clip of a speaker",
        lambda c: c.add(TRAINED, "betas", np.float32(0.5)),
        {TRAINED: {"speaker_shape"}},
    ),
    (
        "a clip of the table without files",
        lambda c: c.table(lambda text: f"{text}{COPY},train\n"),
        {COPY: {"readable", "text"}},
    ),
]


@pytest.mark.parametrize(
    ("plant", "expected"), [row[1:] for row in PLANTED], ids=[row[0] for row in PLANTED]
)
def test_a_planted_fault_is_found_by_its_rule(
    plant: Callable[[Corpus], Any], expected: Findings, corpus: Corpus, take_in: TakeIn
) -> None:
    plant(corpus)
    assert findings(take_in(corpus.root).manifest) == expected


def test_a_leak_is_told_with_the_clip_it_leads_to(corpus: Corpus, take_in: TakeIn) -> None:
    a_piece(corpus)
    rows = apply_rules(take_in(corpus.root).manifest, clip_rules(STANDARD_BOUNDS))
    (told,) = rows.loc[(rows["rule"] == "leak_of_a_part") & (rows["clip_id"] == COPY), "found"]
    assert told == f"motion of {TRAINED} in train"
