"""The data-quality page shows every flagged clip with its reason, and figures of planted faults."""

import copy
import dataclasses
import html
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray
from typer.testing import CliRunner

from mambatalk.cli import app
from mambatalk.clips.ingest import ingest
from mambatalk.clips.posture import ARM_JOINTS
from mambatalk.clips.statistics import audio_statistics
from mambatalk.clips.store import ClipStore
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.corpus.wave import AudioFormat
from mambatalk.executors import FailedItem
from mambatalk.motion.clip import SmplxMotion
from mambatalk.quality.comparison import (
    PreviousManifest,
    compare_manifests,
    find_clip_changes,
    summarize_drift,
)
from mambatalk.quality.decisions import read_decisions
from mambatalk.quality.pages.distributions import plot_distributions
from mambatalk.quality.pages.evidence import evidence_figures
from mambatalk.quality.pages.moments import find_moment
from mambatalk.quality.pages.over_time import FRAME_SERIES
from mambatalk.quality.pages.page import write_quality_page
from mambatalk.quality.pages.report import QualityReport, build_report, find_unmatched_files
from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS, clip_rules
from mambatalk.quality.rules.rule import Rule
from mambatalk.quality.rules.verdict import apply_rules, verdict
from mambatalk.rendering.moments import draw_moments
from mambatalk.sample.build import write_sample

pytest.importorskip(
    "espeakng_loader", reason="the sample needs eSpeak NG: pip install 'mambatalk[sample]'"
)
BOUNDS = dataclasses.replace(STANDARD_BOUNDS, max_quarantined=0.9)
FAULTS = ("damaged", "spike", "frozen", "jump", "long", "silent", "copy", "original")
Array = NDArray[Any]
Faulty = tuple[ClipStore, dict[str, str]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.03, speakers=3, seed=5)
    return root


@pytest.fixture(scope="module")
def clean(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return ingest_corpus(corpus, tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def faulty(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    """A store of the sample with one fault per clip, and the clip id of each fault."""
    root = shutil.copytree(corpus, tmp_path_factory.mktemp("faulty") / "corpus")
    ids = sorted(path.stem for path in (root / "wave16k").iterdir())
    clip_of = dict(zip(FAULTS, ids, strict=False))

    (root / "smplxflame_30" / f"{clip_of['damaged']}.npz").write_bytes(b"PK damaged")
    edit_motion(root, clip_of["spike"], twist_wrist)
    edit_motion(root, clip_of["frozen"], freeze)
    edit_motion(root, clip_of["jump"], jump)
    edit_audio(root, clip_of["long"], lambda wave: np.concatenate([wave] * 4))
    edit_audio(root, clip_of["silent"], lambda wave: wave / 1000)
    for folder, suffix in (("smplxflame_30", ".npz"), ("wave16k", ".wav")):
        original = root / folder / f"{clip_of['original']}{suffix}"
        shutil.copy(original, root / folder / f"{clip_of['copy']}{suffix}")
    return ingest_corpus(root, tmp_path_factory.mktemp("out")), clip_of


def edit_motion(root: Path, clip: str, edit: Callable[[Array, Array], tuple[Array, Array]]) -> None:
    path = root / "smplxflame_30" / f"{clip}.npz"
    arrays = dict(np.load(path))
    arrays["poses"], arrays["trans"] = edit(arrays["poses"], arrays["trans"])
    np.savez(path, **arrays)


def twist_wrist(poses: Array, trans: Array) -> tuple[Array, Array]:
    """Twist the left wrist (joint 20) for one frame, two seconds in."""
    poses[60, 60:63] += 1.4
    return poses, trans


def freeze(poses: Array, trans: Array) -> tuple[Array, Array]:
    """Repeat one pose for 75 frames."""
    poses[30:105] = poses[30]
    return poses, trans


def jump(poses: Array, trans: Array) -> tuple[Array, Array]:
    """Move the body by one metre along every axis between two frames, three seconds in."""
    return poses, trans + (np.arange(len(trans)) >= 90)[:, None]


def edit_audio(root: Path, clip: str, edit: Callable[[Array], Array]) -> None:
    path = root / "wave16k" / f"{clip}.wav"
    wave, rate = soundfile.read(path)
    soundfile.write(path, edit(wave), rate)


def ingest_corpus(root: Path, out: Path) -> ClipStore:
    write_snapshot(root, out / "snapshot.json")
    (out / "clips").mkdir()
    ingest(root, out / "snapshot.json", out / "clips", speakers=[], clips_per_shard=8)
    return ClipStore(out / "clips")


@pytest.fixture(scope="module")
def page(faulty: Faulty, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(report_on(faulty[0]), tmp_path_factory.mktemp("page"))


def report_on(store: ClipStore, **fields: Any) -> QualityReport:
    return build_report(store, BOUNDS, **{"corpus": "my corpus", **fields})


def write_page(report: QualityReport, folder: Path) -> str:
    write_quality_page(folder / "index.html", report)
    return (folder / "index.html").read_text(encoding="utf-8")


def visible_text(page: str) -> str:
    """The text of a page without figures."""
    body = re.sub(r"<style.*?</style>|<svg.*?</svg>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def card_of(page: str, clip: str) -> str:
    """The part of the page about one flagged clip."""
    pattern = rf'<article class="card case" id="{clip}">.*?</article>'
    match = re.search(pattern, page, re.DOTALL)
    assert match, f"{clip} is not on the page"
    return match[0]


def test_a_clean_corpus_has_distributions_and_no_flagged_clip(
    clean: ClipStore, tmp_path: Path
) -> None:
    page = write_page(report_on(clean), tmp_path)
    assert f"All {len(clean.manifest)} clips accepted" in page
    assert "No clip has critical or quarantine findings." in page
    assert "No clip breaks any of" in page
    assert "Drift" not in page
    assert page.count("<svg") >= 10
    for speaker in ("1 ada", "2 bruno", "3 celia"):
        assert page.count(f">{speaker}<") >= 10, "every distribution has a row for each speaker"


@pytest.mark.parametrize(
    ("fault", "rule", "pattern"),
    [
        ("damaged", "readable", r"damaged npz"),
        (
            "spike",
            "joint speed",
            r"Fastest joint in each frame: [\d.]+ rad/s at (1\.97|2\.00) s"
            r" \(left wrist\); 2 frames",
        ),
        ("frozen", "frozen", r"nothing moves in the marked 2\.5 s"),
        (
            "jump",
            "translation speed",
            r"Speed of the body in each frame: [\d.]+ m/s at 2\.97 s; 1 frame above",
        ),
        ("long", "same length", r"motion lasts [\d.]+ s, the audio [\d.]+ s: they differ by"),
        (
            "silent",
            "audible",
            r"silence \(below −50 dB, 100 % of the audio\) is grey; the bars below are words",
        ),
        ("copy", "duplicate", r"identical to those of {original} \("),
    ],
)
def test_a_flagged_clip_has_its_reason_and_a_figure(
    faulty: Faulty, page: str, fault: str, rule: str, pattern: str
) -> None:
    clip_of = faulty[1]
    card = card_of(page, clip_of[fault])
    assert f"<b>{rule}</b>" in card
    pattern = pattern.replace("{original}", clip_of["original"])
    assert re.search(pattern, visible_text(card))
    assert ("<svg" in card) == (fault != "damaged")


def test_the_page_shows_all_clips_with_findings_and_no_others(faulty: Faulty, page: str) -> None:
    store, clip_of = faulty
    quarantined = report_on(store).verdict["quarantined"]
    cards = re.findall(r'case" id="([^"]+)"', page)
    assert set(cards) >= set(clip_of.values()) == set(quarantined)
    assert set(cards) == set(report_on(store).findings["clip_id"])
    assert f"{len(clip_of)} of {len(store.manifest)} clips would be quarantined" in visible_text(
        page
    )


def test_critical_findings_come_first(faulty: Faulty, page: str) -> None:
    """The copy is in another split than its original."""
    assert "<h1>Not ready for training</h1>" in page
    before_rules = visible_text(page.split('<section id="rules"')[0])
    assert f"{faulty[1]['copy']}: leak" in before_rules


@pytest.mark.slow
def test_other_pages_show_the_flagged_clips_beyond_the_first(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clip_of = faulty
    monkeypatch.setattr("mambatalk.quality.pages.page.CLIPS_PER_PAGE", 3)
    (tmp_path / "clips-009.html").write_text("a page of an earlier report")
    first = write_page(report_on(store), tmp_path)
    others = sorted(path.name for path in tmp_path.glob("clips-*.html"))
    assert others[0] == "clips-002.html"
    assert "clips-009.html" not in others
    pages = {"": first} | {name: (tmp_path / name).read_text(encoding="utf-8") for name in others}
    links = re.findall(r'<th scope="row"><a href="([^"]*)#([^"]+)">', first)
    assert set(clip_of.values()) <= {clip for _, clip in links}
    for page, clip in links:
        card_of(pages[page], clip)
        readable = "readable</b>" not in card_of(pages[page], clip)
        assert ("<svg" in card_of(pages[page], clip)) == readable
    assert all("clips-002.html" in page for page in (first, pages["clips-003.html"]))


def test_clips_with_many_findings_have_pages_of_their_own(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a corpus in which every rule is broken makes a page of many megabytes."""
    report = report_on(faulty[0])
    counts = report.findings["clip_id"].value_counts()
    monkeypatch.setattr("mambatalk.quality.pages.page.FINDINGS_PER_PAGE", int(counts.max()))
    monkeypatch.setattr("mambatalk.quality.pages.page._draw_part", lambda part: FailedItem())
    first = write_page(report, tmp_path)
    others = [path.read_text(encoding="utf-8") for path in tmp_path.glob("clips-*.html")]
    on_page = [re.findall(r'case" id="([^"]+)"', page) for page in (first, *others)]
    assert sorted(sum(on_page, [])) == sorted(counts.index)
    assert all(clips and counts[clips].sum() <= counts.max() for clips in on_page)


@pytest.mark.slow
def test_pages_are_the_same_from_other_processes(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mambatalk.quality.pages.page.CLIPS_PER_PAGE", 2)
    report = dataclasses.replace(report_on(faulty[0]), draw_stills=draw_moments)
    folders = {workers: tmp_path / str(workers) for workers in (1, 2)}
    for workers, folder in folders.items():
        folder.mkdir()
        write_quality_page(folder / "index.html", report, workers=workers)
    one, two = (
        {path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders.values()
    )
    assert len(one) > 4
    assert one == two


def test_a_page_whose_figures_end_the_process_has_words(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as figures that need more memory than there is."""

    @contextmanager
    def dying(workers: int) -> Iterator[Any]:
        yield SimpleNamespace(map=lambda work, parts: (FailedItem() for _ in parts))

    monkeypatch.setattr("mambatalk.quality.pages.page.open_executor", dying)
    page = write_page(report_on(faulty[0]), tmp_path)
    card = card_of(page, faulty[1]["frozen"])
    assert "no joint moves at all" in visible_text(card)
    assert "<svg" not in card


@pytest.mark.slow
def test_a_card_names_the_moment_and_shows_the_motion(faulty: Faulty, tmp_path: Path) -> None:
    store, clip_of = faulty
    asked: list[Sequence[float]] = []

    def draw(motion: SmplxMotion, seconds: Sequence[float]) -> bytes:
        asked.append(seconds)
        return draw_moments(motion, seconds)

    page = write_page(dataclasses.replace(report_on(store), draw_stills=draw), tmp_path)
    card = card_of(page, clip_of["frozen"])
    assert re.search(r'held</b> <b class="when">1\.[0-9] to 3\.[0-9] s', card)
    assert 'src="data:image/webp;base64,' in card
    assert "Waveform;" in card
    assert any(1 < seconds[1] < 4 for seconds in asked)


def test_the_data_card_is_the_same_on_the_page_and_as_markdown(
    faulty: Faulty, tmp_path: Path
) -> None:
    origin = {
        "name": "<mine>",
        "licence": "CC-BY-4.0",
        "url": "https://example.org",
        "method": "by",
    }
    snapshot = {"files": {}, "digest": "5d" * 32, "origin": origin}
    page = write_page(dataclasses.replace(report_on(faulty[0]), snapshot=snapshot), tmp_path)
    markdown = (tmp_path / "DATA_CARD.md").read_text(encoding="utf-8")
    assert markdown.startswith("# Data card: &lt;mine&gt;\n")
    rows = re.findall(r"<div><dt>([^<]+)</dt><dd>(.*?)</dd></div>", page.split('id="card"')[1])
    assert [f"- **{term}:** {html.unescape(value)}" for term, value in rows] == [
        html.unescape(line) for line in markdown.splitlines() if line.startswith("- **")
    ]
    facts = {term: html.unescape(value) for term, value in rows}
    assert facts["Licence"] == "CC-BY-4.0"
    assert facts["Snapshot"] == "sha256 " + "5d" * 32
    assert facts["Clips"] == "12, 1 of them unreadable"
    assert facts["Speakers"] == "3: 1 ada, 2 bruno, 3 celia"
    assert facts["Types, by clip id"] == "11 speech, 1 conversation"
    assert facts["Emotions, by clip id"] == "12 neutral"
    assert facts["Joint speed"].startswith("1 clip (quarantine): a joint jumps")
    assert "The face of another clip" in visible_text(page)
    assert "- The face of another clip" in markdown


def test_a_card_without_a_snapshot_says_what_is_not_stated(
    clean: ClipStore, tmp_path: Path
) -> None:
    write_page(report_on(clean), tmp_path)
    markdown = (tmp_path / "DATA_CARD.md").read_text(encoding="utf-8")
    assert markdown.startswith("# Data card: my corpus\n")
    assert "- **Licence:** not stated; `mambatalk snapshot` can state it" in markdown
    assert "- **Findings:** none; no clip breaks any of" in markdown


@pytest.mark.slow
def test_the_command_on_a_card_decides_about_the_clip(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run as it stands on the page, the command overrules the checks in the next report."""
    store, clip_of = faulty
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    page = write_page(report_on(store), tmp_path)
    wanted = {clip_of["frozen"]: "accept", clip_of["spike"]: "accept"}
    for clip in wanted:
        run_command_of(page, clip)
    decided = read_decisions("data/decisions.csv")
    assert {one.clip_id: one.decision for one in decided} == wanted
    assert {one.reason for one in decided} == {"WHY"}
    report = report_on(store, decisions=decided)
    assert set(wanted) <= set(report.verdict["accepted"])
    card = card_of(write_page(report, tmp_path), clip_of["frozen"])
    assert "Decided: accepted by" in visible_text(card)

    run_command_of(card, clip_of["frozen"])
    again = report_on(store, decisions=read_decisions("data/decisions.csv"))
    assert clip_of["frozen"] in again.verdict["quarantined"], "the later row counts"


def run_command_of(page: str, clip: str) -> None:
    """Run the command that the card of a clip shows."""
    command = re.search(r'<pre class="command">(.*?)</pre>', card_of(page, clip))
    assert command
    program, *arguments = shlex.split(html.unescape(command[1]))
    assert program == "mambatalk"
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output


def test_a_clip_that_no_decision_can_use_has_no_command(faulty: Faulty, page: str) -> None:
    card = card_of(page, faulty[1]["damaged"])
    assert "mambatalk decide" not in card
    assert "No decision can use this clip before its files are correct" in visible_text(card)


def test_a_new_rule_gets_figures_without_further_code(clean: ClipStore, tmp_path: Path) -> None:
    clean.manifest["sway"] = np.linspace(0, 1, len(clean.manifest))
    rule = Rule(name="sway", severity="quarantine", column="sway", reason="sways", maximum=0.95)
    findings = apply_rules(clean.manifest, [rule])
    report = dataclasses.replace(
        report_on(clean),
        rules=[rule],
        findings=findings,
        verdict=verdict(clean.manifest, findings, max_quarantined=0.9),
    )
    page = write_page(report, tmp_path)
    card = card_of(page, clean.manifest["clip_id"].iloc[-1])
    del clean.manifest["sway"]
    expected = f"Sway: 1 in this clip (triangle), among {len(clean.manifest)} clips."
    assert expected in visible_text(card)
    assert "<svg" in card
    assert "<h3>Sway</h3>" in page, "the page also shows its distribution"


@pytest.mark.parametrize(("clips", "bars"), [(2, 0), (4, 0), (5, 1)])
def test_a_few_clips_are_points_and_not_quantiles(clips: int, bars: int) -> None:
    table = pd.DataFrame(
        {
            "clip_id": [f"1_ada_0_{index}_1" for index in range(clips)],
            "speaker": 1,
            "name": "ada",
            "motion_seconds": np.linspace(8, 9, clips),
        }
    )
    ((_, figure),) = plot_distributions(table, [], [])
    assert figure.count("stroke-width: 6") == bars
    assert "Length of the motion (s)" in figure


@pytest.mark.parametrize(
    ("column", "value", "caption"),
    [
        ("mouth_lag", 1.5, "Mouth above, loudness below: the audio is 1.50 s late."),
        ("word_lag", -0.4, "Words above, loudness below: the audio is 0.40 s early."),
        ("speaker_lag", 1.5, "the audio is 1.50 s late (median of the speaker)."),
    ],
)
def test_a_lag_is_plotted_against_its_reference(
    clean: ClipStore, column: str, value: float, caption: str
) -> None:
    row = clean.manifest.iloc[0].to_dict() | {column: value}
    rule = Rule(
        name="lag", severity="quarantine", column=column, reason="late", minimum=-0.1, maximum=0.1
    )
    (figure,) = evidence_figures(row, clean.read(row["clip_id"]), [rule], clean)
    assert figure.caption.endswith(caption)
    assert str(figure.svg).count("<path") > 10


def test_the_page_is_self_contained_and_reproducible(
    faulty: Faulty, page: str, tmp_path: Path
) -> None:
    assert page == write_page(report_on(faulty[0]), tmp_path)
    assert "<script" not in page
    assert re.findall(r'\s(?:src|srcset|poster)="([^"]*)"', page) == []
    links = [link for link in re.findall(r'href="([^"]*)"', page) if not link.startswith("#")]
    assert links == ["data:,"]
    assert "matplotlib" not in page.lower()


def test_names_from_the_data_are_escaped(clean: ClipStore, tmp_path: Path) -> None:
    report = report_on(clean, corpus="<b>x</b>", unmatched_files=["wave16k/<script>.wav"])
    page = write_page(report, tmp_path)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page


@pytest.mark.slow
def test_changed_clips_are_listed(clean: ClipStore, faulty: Faulty, tmp_path: Path) -> None:
    store, clip_of = faulty
    before = clean.manifest.drop(index=[11])
    before["split"] = before["split"].where(before.index != 10, "val")

    changes = find_clip_changes(before, store.manifest)
    assert changes["added"] == [store.manifest["clip_id"][11]]
    assert changes["moved to another split"] == [store.manifest["clip_id"][10]]
    assert set(changes["changed in content"]) == set(clip_of.values()) - {clip_of["original"]}
    assert "removed" not in changes

    previous = PreviousManifest(manifest=before, snapshot="f00d" * 16)
    comparison = compare_manifests(previous, store.manifest, [])
    page = write_page(dataclasses.replace(report_on(store), comparison=comparison), tmp_path)
    assert "f00df00df00d" in page
    assert "1 clip added" in visible_text(page)
    assert "population stability index" in page


def test_a_shift_is_plotted_and_summarised(clean: ClipStore, tmp_path: Path) -> None:
    now = clean.manifest.assign(silent_share=clean.manifest["silent_share"] + 0.5)
    previous = PreviousManifest(manifest=clean.manifest.copy(), snapshot="f00d" * 16)
    comparison = compare_manifests(previous, now, [])
    drifted = [(shift.speaker, shift.feature, shift.level) for shift in comparison.drifted]
    assert drifted == [("all", "silent_share", "large")]
    assert len(comparison.figures) == 1
    assert comparison.clip_changes == {}
    page = write_page(dataclasses.replace(report_on(clean), comparison=comparison), tmp_path)
    assert "1 significant shift (1 large)" in visible_text(page)


NOISE = {"jitter", "jitter_burst", "translation_jitter", "expression_jitter", "branch_flips"}
"""Columns whose rules judge the middle of the series, or count its peaks."""


@pytest.mark.parametrize(
    "column",
    sorted(name for name, one in FRAME_SERIES.items() if one.frozen is None and name not in NOISE),
)
def test_the_peak_of_a_series_is_the_value_that_the_rule_judges(
    clean: ClipStore, column: str
) -> None:
    """Otherwise a figure would show another quantity than the one that quarantined the clip."""
    for row in clean.manifest.to_dict("records")[:2]:
        motion = clean.read(row["clip_id"]).motion
        peak = FRAME_SERIES[column].values(motion).max()
        assert peak == pytest.approx(row[column], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("column", ["jitter", "translation_jitter"])
def test_the_median_of_a_noise_series_is_the_value_that_the_rule_judges(
    clean: ClipStore, column: str
) -> None:
    row = clean.manifest.iloc[0]
    series = FRAME_SERIES[column].values(clean.read(row["clip_id"]).motion)
    assert np.median(series, axis=0).max() == pytest.approx(row[column], rel=1e-4, abs=1e-6)


def test_a_frozen_arm_is_shaded_while_the_other_moves(clean: ClipStore) -> None:
    row = clean.manifest.iloc[0].to_dict() | {"frozen_limb_seconds": 1.0}
    clip = clean.read(row["clip_id"])
    poses = clip.motion.poses.reshape(-1, 55, 3)
    poses = poses + np.random.default_rng(0).normal(0, 0.01, poses.shape).astype(np.float32)
    poses[30:61, list(ARM_JOINTS[0])] = poses[30, list(ARM_JOINTS[0])]
    motion = dataclasses.replace(clip.motion, poses=poses.reshape(len(poses), -1))
    rule = Rule(
        name="frozen_limb",
        severity="quarantine",
        column="frozen_limb_seconds",
        reason="an arm does not move",
        maximum=0.5,
    )
    (figure,) = evidence_figures(row, dataclasses.replace(clip, motion=motion), [rule], clean)
    assert "nothing moves in the marked 1.0 s" in figure.caption


def test_the_moment_of_a_freeze_is_its_longest_one(clean: ClipStore) -> None:
    """Single frames that repeat, before and after it, do not belong to it."""
    row = clean.manifest.iloc[0].to_dict()
    clip = clean.read(row["clip_id"])
    poses = clip.motion.poses + np.random.default_rng(0).normal(0, 0.01, clip.motion.poses.shape)
    poses[[11, 200]] = poses[[10, 199]]
    poses[90:121] = poses[90]
    motion = dataclasses.replace(clip.motion, poses=poses.astype(np.float32))
    rule = next(rule for rule in clip_rules(BOUNDS) if rule.name == "frozen")
    assert find_moment(row, dataclasses.replace(clip, motion=motion), rule) == (3.0, 4.0)


def test_a_rule_of_yes_or_no_has_no_figure(clean: ClipStore) -> None:
    store = copy.copy(clean)
    store.manifest = clean.manifest.assign(signed=True)
    rule = Rule(name="signed", severity="warning", column="signed", reason="signed", maximum=0)
    row = store.manifest.iloc[0].to_dict()
    figures = evidence_figures(row, clean.read(row["clip_id"]), [rule], store)
    assert list(figures) == []


def test_too_few_clips_have_no_measured_drift(clean: ClipStore) -> None:
    few = clean.manifest.iloc[:1]
    previous = PreviousManifest(manifest=few.copy(), snapshot="f00d" * 16)
    comparison = compare_manifests(previous, few, [])
    assert summarize_drift(comparison) == "Too few clips before or now to measure drift."


def test_every_rule_is_for_a_column_of_the_manifest(clean: ClipStore) -> None:
    """A rule for a column that does not exist is skipped, so that it would never find anything."""
    rules = clip_rules(BOUNDS)
    assert [rule.name for rule in rules if rule.column not in clean.manifest] == []


def test_files_that_belong_to_no_clip_are_found() -> None:
    files = [
        "train_test_split.csv",
        "weights/any.npy",
        "wave16k/31_maria_0_1_1.wav",
        "wave16k/Maria.wav",
        "textgrid/31_maria_0_1_1.txt",
        "sem/31_maria_0_1_1.txt",
        "smplxflame_30/31_maria_10_1_1.npz",
    ]
    assert find_unmatched_files(files) == [
        "wave16k/Maria.wav",
        "textgrid/31_maria_0_1_1.txt",
        "smplxflame_30/31_maria_10_1_1.npz",
    ]


def test_a_corpus_without_a_readable_clip_has_a_page(corpus: Path, tmp_path: Path) -> None:
    root = shutil.copytree(corpus, tmp_path / "corpus")
    for path in (root / "smplxflame_30").iterdir():
        path.write_bytes(b"not an npz file")
    (tmp_path / "out").mkdir()
    page = write_page(report_on(ingest_corpus(root, tmp_path / "out")), tmp_path)
    clips = list((root / "wave16k").iterdir())
    assert page.count('<article class="card case"') == len(clips)


def test_loudness_ignores_silence() -> None:
    """A sine at half of full scale is 9.03 dB below it, with or without silence before it."""
    audio_format = AudioFormat(
        sample_rate=16000, channels=1, container="WAV", encoding="PCM_16", frames=16000
    )
    sine = 0.5 * np.sin(2 * np.pi * 200 * np.arange(16000) / 16000).astype(np.float32)
    assert audio_statistics(sine, audio_format)["loudness"] == pytest.approx(-9.03, abs=0.01)
    padded = np.concatenate([np.zeros(32000, np.float32), sine])
    assert audio_statistics(padded, audio_format)["loudness"] == pytest.approx(-9.03, abs=0.01)
    assert audio_statistics(np.zeros(16000, np.float32), audio_format)["loudness"] is None
