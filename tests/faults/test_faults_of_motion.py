"""Faults of frames, parts and noise are found in a clip of the sample and in two clips of BEATX."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest

from mambatalk.clips.corpus_statistics import usual_columns
from mambatalk.clips.noise import bounded
from mambatalk.clips.row import Clip
from mambatalk.clips.statistics import joint_speed, motion_statistics
from mambatalk.clips.store import ClipStore
from mambatalk.motion.clip import SmplxMotion
from mambatalk.quality.pages.evidence import evidence_figures
from mambatalk.quality.pages.moments import find_moment
from mambatalk.quality.pages.page import write_quality_page
from mambatalk.quality.pages.report import build_report
from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS, clip_rules
from mambatalk.quality.rules.timing import timing_rules
from mambatalk.quality.rules.verdict import apply_rules
from tests.faults.damage import Arrays, Corpus
from tests.faults.faults_of_clips import set_sample
from tests.faults.faults_of_motion import FAULTS, UNUSUAL, MotionFault, one_value

REAL = Path(__file__).parents[2].parent / "shared" / "beatx_clips" / "beat_english_v2.0.0"
SAMPLE_CLIP = "1_ada_0_4_4"
CLIPS = {SAMPLE_CLIP: "1_ada_0_2_2", "2_scott_0_1_1": "2_scott_0_2_2"}
CLIPS |= {"2_scott_0_2_2": "2_scott_0_1_1"}
"""Each clip with another one of its speaker."""
PIECES = 12
IN_TIME = {rule.name for rule in timing_rules()}
RULES = [rule for rule in clip_rules(STANDARD_BOUNDS) if rule.name not in IN_TIME]
"""Noise and flips also disturb the order of frames, which other tests are for."""


@cache
def load(folder: Path, clip: str) -> Arrays:
    with np.load(folder / "smplxflame_30" / f"{clip}.npz") as archive:
        return dict(archive)


@pytest.fixture(params=CLIPS)
def clip(request: pytest.FixtureRequest) -> tuple[Arrays, Arrays]:
    """The arrays of a clip, which may be changed, and those of another clip of the speaker."""
    name = request.param
    if name != SAMPLE_CLIP and not REAL.is_dir():
        pytest.skip("no real clips beside the checkout")
    folder = request.getfixturevalue("sample") if name == SAMPLE_CLIP else REAL
    arrays = {key: value.copy() for key, value in load(folder, name).items()}
    return arrays, load(folder, CLIPS[name])


def read(arrays: Arrays) -> SmplxMotion:
    """Read a motion as ingest does, from the bytes of its file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return SmplxMotion.read(file.getvalue(), where="clip")


def measure(arrays: Arrays) -> dict[str, object]:
    motion = read(arrays)
    return motion_statistics(motion, joint_speed(bounded(motion.poses)))


def found_in(*rows: dict[str, object]) -> dict[str, set[str]]:
    table = pd.DataFrame([{"clip_id": str(k), "speaker": 1, **row} for k, row in enumerate(rows)])
    findings = apply_rules(table.assign(**usual_columns(table)), RULES)
    return {str(clip): set(group["rule"]) for clip, group in findings.groupby("clip_id")}


def pieces(arrays: Arrays) -> list[dict[str, object]]:
    """Measure overlapping halves of a clip, which stand for the other clips of its speaker."""
    half = len(arrays["poses"]) // 2
    frames = ("poses", "expressions", "trans")
    return [
        measure(
            {
                key: value[first : first + half] if key in frames else value
                for key, value in arrays.items()
            }
        )
        for first in np.linspace(0, half, PIECES).astype(int)
    ]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_of_the_motion_is_found(fault: MotionFault, clip: tuple[Arrays, Arrays]) -> None:
    fault.damage(*clip)
    found = found_in(measure(clip[0])).get("0", set())
    assert fault.rule in found
    assert found <= {fault.rule} | fault.also


@pytest.mark.parametrize("fault", UNUSUAL, ids=lambda fault: fault.name)
def test_a_clip_unlike_the_speakers_others_is_found(
    fault: MotionFault, clip: tuple[Arrays, Arrays]
) -> None:
    others = pieces(clip[1])
    clean = found_in(*others, measure(clip[0]))
    assert str(PIECES) not in clean
    fault.damage(*clip)
    assert fault.rule in found_in(*others, measure(clip[0]))[str(PIECES)]


def test_undamaged_motion_has_no_findings(clip: tuple[Arrays, Arrays]) -> None:
    assert found_in(measure(clip[0])) == {}


@pytest.mark.parametrize("fault", [*FAULTS, *UNUSUAL], ids=lambda fault: fault.name)
def test_a_figure_shows_a_fault_of_the_motion(fault: MotionFault, sample: Path) -> None:
    arrays = {key: value.copy() for key, value in load(sample, SAMPLE_CLIP).items()}
    other = load(sample, CLIPS[SAMPLE_CLIP])
    usual = {"fault": None, "speaker": 1, "name": "ada", "shape_fingerprint": "usual"}
    rows = [usual | row | {"clip_id": f"{k}"} for k, row in enumerate(pieces(other))]
    fault.damage(arrays, other)
    rows.append(usual | measure(arrays) | {"clip_id": SAMPLE_CLIP})
    manifest = pd.DataFrame(rows)
    manifest = manifest.assign(**usual_columns(manifest))
    clip = Clip(
        clip_id=SAMPLE_CLIP,
        motion=read(arrays),
        audio=b"",
        words=None,
        phones=None,
        semantics=None,
    )
    rules = [rule for rule in RULES if rule.name == fault.rule]
    store = cast(ClipStore, SimpleNamespace(manifest=manifest, read=lambda clip_id: clip))
    row = manifest.iloc[-1].to_dict()
    figures = evidence_figures(row, clip, rules, store)
    assert len(figures) == 1
    assert "(triangle)" not in figures[0].caption, "a histogram shows no signal"
    assert "nan" not in str(figures[0].svg)
    if fault.name.endswith("in betas"):
        assert figures[0].caption.startswith("Shape parameters")
        assert find_moment(row, clip, rules[0]) is None, "they have no time"


@pytest.mark.slow
def test_a_report_about_absurd_values_is_written(
    corpus: Corpus, ingest_corpus: Callable[[Path], ClipStore], tmp_path: Path
) -> None:
    for number, value in ((1, 1e10), (2, 1e38)):
        for speaker, name in (("1_ada", "poses"), ("2_bruno", "trans"), ("3_celia", "expressions")):
            clip = f"{speaker}_0_{number}_{number}"
            corpus.motion(clip, lambda arrays, n=name, v=value: one_value(arrays, arrays, n, v))
    corpus.motion("1_ada_0_3_3", lambda arrays: one_value(arrays, arrays, "betas", 1e38))
    corpus.wave("1_ada_0_4_4", lambda samples: set_sample(samples, 1e38), subtype="FLOAT")
    report = build_report(ingest_corpus(corpus.root), STANDARD_BOUNDS, corpus="absurd")
    write_quality_page(tmp_path / "index.html", report)
    flagged = report.findings[report.findings["rule"].isin(("absurd_value", "absurd_sample"))]
    assert len(flagged) == 8
    page = (tmp_path / "index.html").read_text()
    assert all(clip in page for clip in flagged["clip_id"])
