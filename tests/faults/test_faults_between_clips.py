"""Faults that involve several clips: copies, leaks between splits, and faults of a speaker."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mambatalk.clips.store import ClipStore
from mambatalk.corpus.layout import KINDS
from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS, clip_rules
from mambatalk.quality.rules.verdict import apply_rules
from tests.faults.conftest import Findings, figures_of, findings
from tests.faults.damage import RATE, Corpus
from tests.faults.faults_in_time import at_pace

IngestCorpus = Callable[[Path], ClipStore]
TRAINED, COPY = "3_celia_0_4_4", "3_celia_0_9_9"
ADA = tuple(f"1_ada_0_{number}_{number}" for number in range(1, 5))

WITHOUT_FIGURE = {"speaker_name", "speaker_trains", "id_agrees"}
"""Faults of ids and of the split table, and not of signals."""
SHORT_CLIP = "1_ada_0_3_3"
"""Too short for a lag of its own; it is quarantined with the other clips of its speaker."""


def offset_speaker(corpus: Corpus) -> None:
    """Shift the audio of all clips of a speaker, as for speaker 12 of BEATX."""
    for clip in ADA:
        corpus.wave(clip, lambda samples: samples[round(0.4 * RATE) :])
        corpus.path(clip, "textgrid").unlink()


def slow_clock(corpus: Corpus) -> None:
    for clip in ADA:
        at_pace(1.01)(corpus, clip)


def same_motion_with_other_audio(corpus: Corpus) -> None:
    corpus.copy(TRAINED, COPY, "train", ("motion",))
    noise = np.random.default_rng(0).normal(0, 0.1, corpus.frames(COPY) * RATE // 30)
    soundfile.write(corpus.path(COPY, "wave"), noise, RATE)


def same_audio_with_other_motion(corpus: Corpus) -> None:
    """Copy the audio to other motion, as for two people in one room."""
    corpus.copy(TRAINED, COPY, "train")
    corpus.motion(COPY, lambda arrays: arrays.update(poses=0.9 * arrays["poses"]))


def copy_with_other_encoding(corpus: Corpus) -> None:
    corpus.copy(TRAINED, COPY, "test")
    corpus.motion(COPY, lambda arrays: None, save=np.savez_compressed)
    corpus.wave(COPY, lambda samples: samples, subtype="PCM_24")


def part_of_a_training_clip(corpus: Corpus) -> None:
    """Add six seconds from the middle of a training clip to the test split."""
    corpus.copy(TRAINED, COPY, "test", ("motion", "wave"))
    corpus.motion(
        COPY,
        lambda arrays: {
            name: value[70:250] if name in ("poses", "trans", "expressions") else value
            for name, value in arrays.items()
        },
    )
    corpus.wave(COPY, lambda samples: samples[70 * RATE // 30 : 250 * RATE // 30])


def speaker_without_training_clips(corpus: Corpus) -> None:
    corpus.table(
        lambda text: "".join(
            line.replace(",val", ",test").replace(",train", ",test")
            if line.startswith("1_ada")
            else line
            for line in text.splitlines(keepends=True)
        )
    )


def second_name(corpus: Corpus) -> None:
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
        "a training clip in the test split",
        lambda c: c.copy(TRAINED, COPY, "test"),
        {TRAINED: {"duplicate", "leak"}, COPY: {"duplicate", "leak"}},
    ),
    (
        "a training clip in the test split, with other encodings",
        copy_with_other_encoding,
        {clip: {"same_motion", "same_sound", "leak_of_a_part"} for clip in (TRAINED, COPY)},
    ),
    (
        "a part of a training clip in the test split",
        part_of_a_training_clip,
        {
            TRAINED: {"same_motion", "leak_of_a_part"},
            COPY: {"same_motion", "leak_of_a_part", "text"},
        },
    ),
    (
        "one motion with two audio files",
        same_motion_with_other_audio,
        {TRAINED: {"same_motion"}, COPY: {"same_motion", "text"}},
    ),
    (
        "one audio file with two motions",
        same_audio_with_other_motion,
        {TRAINED: {"same_sound"}, COPY: {"same_sound"}},
    ),
    (
        "audio ahead of the motion in all clips of a speaker",
        offset_speaker,
        {
            clip: {"speaker_lag", "mouth_fits_sound", "text"}
            - ({"mouth_fits_sound"} if clip == SHORT_CLIP else set())
            for clip in ADA
        },
    ),
    (
        "a clock that is one per cent slow in all clips of a speaker",
        slow_clock,
        {clip: {"speaker_clock"} for clip in ADA},
    ),
    (
        "one speaker id with two names",
        second_name,
        {clip: {"speaker_name"} for clip in (*ADA[:3], "1_eve_0_4_4")},
    ),
    (
        "a clip of neutral recordings and happy ones",
        lambda c: c.rename(TRAINED, "3_celia_0_60_70"),
        {"3_celia_0_60_70": {"id_agrees"}},
    ),
    (
        "a speaker with test clips only",
        speaker_without_training_clips,
        {clip: {"speaker_trains"} for clip in ADA},
    ),
    (
        "another body shape in one clip of a speaker",
        lambda c: c.add(TRAINED, "betas", np.float32(0.5)),
        {TRAINED: {"speaker_shape"}},
    ),
    (
        "a clip of the split table without files",
        lambda c: c.table(lambda text: f"{text}{COPY},train\n"),
        {COPY: {"readable", "text"}},
    ),
]


@pytest.mark.parametrize(
    ("plant", "expected"), [row[1:] for row in PLANTED], ids=[row[0] for row in PLANTED]
)
def test_a_fault_is_found_by_its_rule(
    plant: Callable[[Corpus], Any], expected: Findings, corpus: Corpus, ingest_corpus: IngestCorpus
) -> None:
    plant(corpus)
    store = ingest_corpus(corpus.root)
    found = findings(store.manifest)
    assert set(found) == set(expected)
    assert all(rules <= found[clip] for clip, rules in expected.items())
    for clip, rules in expected.items():
        for rule in rules - WITHOUT_FIGURE if "readable" not in rules else ():
            assert figures_of(store, clip, [rule])


def test_a_leak_names_the_clip_in_the_other_split(
    corpus: Corpus, ingest_corpus: IngestCorpus
) -> None:
    part_of_a_training_clip(corpus)
    rows = apply_rules(ingest_corpus(corpus.root).manifest, clip_rules(STANDARD_BOUNDS))
    (found,) = rows.loc[(rows["rule"] == "leak_of_a_part") & (rows["clip_id"] == COPY), "found"]
    assert found == f"motion of {TRAINED} in train"
