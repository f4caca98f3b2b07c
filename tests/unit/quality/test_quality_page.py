"""The data-quality page: every clip left out is there with its reason, and the picture shows what
was planted.
"""

import dataclasses
import html
import re
import shutil

import numpy as np
import pytest
import soundfile

from mambatalk.clips.ingest import ingest
from mambatalk.clips.statistics import sound_statistics
from mambatalk.clips.store import ClipStore
from mambatalk.corpus.readers import Facts
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.quality.comparison import Earlier, changes, compare
from mambatalk.quality.evidence import evidence
from mambatalk.quality.page import write_quality_page
from mambatalk.quality.report import look_at
from mambatalk.quality.rules import STANDARD_BOUNDS, Rule, apply_rules, verdict
from mambatalk.quality.unmatched import strays
from mambatalk.sample.build import write_sample

pytest.importorskip(
    "espeakng_loader", reason="eSpeak NG speaks the sample: pip install 'mambatalk[sample]'"
)
BOUNDS = dataclasses.replace(STANDARD_BOUNDS, max_quarantined=0.9)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.03, speakers=3, seed=5)
    return root


@pytest.fixture(scope="module")
def clean(corpus, tmp_path_factory):
    return store_of(corpus, tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def faulty(corpus, tmp_path_factory):
    """A store of the sample with a fault in each of seven clips, and their ids by fault."""
    root = shutil.copytree(corpus, tmp_path_factory.mktemp("faulty") / "corpus")
    ids = sorted(path.stem for path in (root / "wave16k").iterdir())
    where = dict(
        zip(
            ("torn", "spike", "frozen", "jump", "long", "silent", "copy", "copied"),
            ids,
            strict=False,
        )
    )
    (root / "smplxflame_30" / f"{where['torn']}.npz").write_bytes(b"PK torn")
    motion(root, where["spike"], lambda poses, trans: (turn(poses, 1.4), trans))
    motion(root, where["frozen"], lambda poses, trans: (still(poses, 30, 105), trans))
    motion(
        root,
        where["jump"],
        lambda poses, trans: (poses, trans + (np.arange(len(trans)) >= 90)[:, None]),
    )
    sound(root, where["long"], lambda wave: np.concatenate([wave, wave, wave, wave]))
    sound(root, where["silent"], lambda wave: wave / 1000)
    for folder, suffix in (("smplxflame_30", ".npz"), ("wave16k", ".wav")):
        shutil.copy(
            root / folder / f"{where['copied']}{suffix}", root / folder / f"{where['copy']}{suffix}"
        )
    return store_of(root, tmp_path_factory.mktemp("out")), where


def motion(root, clip, change):
    path = root / "smplxflame_30" / f"{clip}.npz"
    arrays = dict(np.load(path))
    arrays["poses"], arrays["trans"] = change(arrays["poses"], arrays["trans"])
    np.savez(path, **arrays)


def turn(poses, radians):
    """The left wrist (joint 20) twisted for one frame, two seconds in."""
    poses[60, 60:63] += radians
    return poses


def still(poses, first, last):
    poses[first:last] = poses[first]
    return poses


def sound(root, clip, change):
    path = root / "wave16k" / f"{clip}.wav"
    wave, rate = soundfile.read(path)
    soundfile.write(path, change(wave), rate)


def store_of(root, out):
    write_snapshot(root, out / "snapshot.json")
    (out / "clips").mkdir()
    ingest(root, out / "snapshot.json", out / "clips", speakers=[], clips_per_shard=8)
    return ClipStore(out / "clips")


@pytest.fixture(scope="module")
def page(faulty, tmp_path_factory):
    return page_of(
        look_at(faulty[0], BOUNDS, corpus="mine", strays=[]), tmp_path_factory.mktemp("page")
    )


def page_of(look, tmp_path):
    write_quality_page(tmp_path / "index.html", look)
    return (tmp_path / "index.html").read_text(encoding="utf-8")


def text(page):
    body = re.sub(r"<style.*?</style>|<svg.*?</svg>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def card(page, clip):
    """What the page shows of one clip."""
    return re.search(rf'<article class="card case" id="{clip}">.*?</article>', page, re.DOTALL)[0]


def test_a_clean_corpus_is_shown_and_nothing_is_left_out(clean, tmp_path):
    page = page_of(look_at(clean, BOUNDS, corpus="mine", strays=[]), tmp_path)
    assert f"All {len(clean.manifest)} clips accepted" in page
    assert "No clip is left out." in page
    assert "No clip breaks any of" in page
    assert "Since the last look" not in page
    assert page.count("<svg") >= 10
    for speaker in ("1 ada", "2 bruno", "3 celia"):
        assert page.count(f">{speaker}<") >= 10, "every distribution has a row for each speaker"


@pytest.mark.parametrize(
    ("fault", "rule", "shown"),
    [
        ("torn", "readable", r"damaged npz"),
        (
            "spike",
            "joint speed",
            r"Fastest joint in each frame: [\d.]+ rad/s at (1\.97|2\.00) s \(left wrist\); 2 frames",
        ),
        ("frozen", "frozen", r"none moves at all in the marked 2\.5 s"),
        (
            "jump",
            "translation speed",
            r"Speed of the body in each frame: [\d.]+ m/s at 2\.97 s; 1 frame above",
        ),
        ("long", "same length", r"Motion lasts [\d.]+ s, sound [\d.]+ s: [\d.]+ s apart"),
        ("silent", "audible", r"silence \(below −50 dB\), 100% of it; bars below are words"),
        ("copy", "duplicate", r"byte for byte those of {copied} \("),
    ],
)
def test_each_clip_left_out_says_why_and_shows_it(faulty, page, fault, rule, shown):
    where = faulty[1]
    found = card(page, where[fault])
    assert f"<b>{rule}</b>" in found
    assert re.search(shown.format(**where) if "{" in shown else shown, text(found))
    assert ("<svg" in found) == (fault not in ("torn", "copy"))


def test_all_clips_left_out_are_on_the_page_and_no_other(faulty, page):
    store, where = faulty
    left_out = look_at(store, BOUNDS, corpus="mine", strays=[]).verdict["quarantined"]
    assert set(re.findall(r'case" id="([^"]+)"', page)) == set(where.values()) == set(left_out)
    assert f"{len(where)} of {len(store.manifest)} clips would be left out" in text(page)


def test_what_would_stop_the_pipeline_comes_first(faulty, page):
    """The copy stands in another split than what it copies."""
    assert "<h1>Not fit to train on</h1>" in page
    assert f"{faulty[1]['copy']}: leak" in text(page).split("Rules, and how many")[0]


def test_a_table_names_the_clips_that_have_no_room_for_pictures(faulty, tmp_path, monkeypatch):
    store, where = faulty
    monkeypatch.setattr("mambatalk.quality.cases.PICTURED", 2)
    page = page_of(look_at(store, BOUNDS, corpus="mine", strays=[]), tmp_path)
    assert page.count('<article class="card case"') == 2
    assert all(clip in text(page) for clip in where.values())


def test_a_rule_that_nobody_foresaw_has_a_picture_too(clean, tmp_path):
    clean.manifest["sway"] = np.linspace(0, 1, len(clean.manifest))
    rules = [Rule(name="sway", severity="quarantine", column="sway", why="it sways", maximum=0.95)]
    findings = apply_rules(clean.manifest, rules)
    look = dataclasses.replace(
        look_at(clean, BOUNDS, corpus="mine", strays=[]),
        rules=rules,
        findings=findings,
        verdict=verdict(clean.manifest, findings, max_quarantined=0.9),
    )
    page = page_of(look, tmp_path)
    found = card(page, clean.manifest["clip_id"].iloc[-1])
    del clean.manifest["sway"]
    assert f"Sway: 1 here, among {len(clean.manifest)} clips." in text(found)
    assert "<svg" in found
    assert "<h3>Sway</h3>" in page, "and its distribution"


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("mouth_lag", 1.5, "Mouth above, loudness below: the sound is 1.50 s late."),
        ("word_lag", -0.4, "Words above, loudness below: the sound is 0.40 s early."),
        ("speaker_lag", 1.5, "the sound is 1.50 s late; median of the speaker."),
    ],
)
def test_a_lag_is_shown_by_what_lags(clean, column, value, told):
    row = clean.manifest.iloc[0].to_dict() | {column: value}
    rule = Rule(
        name="lag", severity="quarantine", column=column, why="late", minimum=-0.1, maximum=0.1
    )
    (shown,) = evidence(row, clean.read(row["clip_id"]), [rule], clean.manifest)
    assert shown.caption.endswith(told)
    assert str(shown.picture).count("<path") > 10


def test_the_page_fetches_nothing_and_its_bytes_come_from_the_clips(faulty, page, tmp_path):
    assert page == page_of(look_at(faulty[0], BOUNDS, corpus="mine", strays=[]), tmp_path)
    assert "<script" not in page
    assert set(re.findall(r'\s(?:src|srcset|poster)="([^"]*)"', page)) == set()
    assert {link for link in re.findall(r'href="([^"]*)"', page) if not link.startswith("#")} == {
        "data:,"
    }
    assert "matplotlib" not in page.lower()


def test_names_from_the_data_are_text_and_never_markup(clean, tmp_path):
    page = page_of(
        look_at(clean, BOUNDS, corpus="<b>x</b>", strays=["wave16k/<script>.wav"]), tmp_path
    )
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page


def test_what_changed_since_an_earlier_look_is_told(clean, faulty, tmp_path):
    store, where = faulty
    before = clean.manifest.drop(index=[11]).assign(
        split=lambda table: table["split"].where(table.index != 10, "val")
    )
    found = changes(before, store.manifest)
    assert found["new"] == [store.manifest["clip_id"][11]]
    assert found["moved to another split"] == [store.manifest["clip_id"][10]]
    assert set(found["changed in content"]) == set(where.values()) - {where["copied"]}
    assert "gone" not in found
    look = dataclasses.replace(
        look_at(store, BOUNDS, corpus="mine", strays=[]),
        comparison=compare(Earlier(manifest=before, snapshot="f00d" * 16), store.manifest, []),
    )
    page = page_of(look, tmp_path)
    assert "f00df00df00d" in page
    assert "1 clip new" in text(page)
    assert "population stability index" in page


def test_a_shift_is_pictured_and_said(clean, tmp_path):
    before = clean.manifest.copy()
    now = clean.manifest.assign(silent_share=clean.manifest["silent_share"] + 0.5)
    comparison = compare(Earlier(manifest=before, snapshot="f00d" * 16), now, [])
    assert [(one.speaker, one.feature, one.reading) for one in comparison.moved] == [
        ("all", "silent_share", "large")
    ]
    assert comparison.changes == {}
    look = dataclasses.replace(
        look_at(clean, BOUNDS, corpus="mine", strays=[]), comparison=comparison
    )
    assert "1 shift beyond chance, 1 of them large" in text(page_of(look, tmp_path))


def test_files_that_belong_to_no_clip_are_named():
    files = [
        "train_test_split.csv",
        "weights/any.npy",
        "wave16k/31_maria_0_1_1.wav",
        "wave16k/Maria.wav",
        "textgrid/31_maria_0_1_1.txt",
        "sem/31_maria_0_1_1.txt",
        "smplxflame_30/31_maria_10_1_1.npz",
    ]
    assert strays(files) == [
        "wave16k/Maria.wav",
        "textgrid/31_maria_0_1_1.txt",
        "smplxflame_30/31_maria_10_1_1.npz",
    ]


def test_a_corpus_of_which_nothing_can_be_read_has_a_page_too(corpus, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    for path in (root / "smplxflame_30").iterdir():
        path.write_bytes(b"no npz")
    (tmp_path / "out").mkdir()
    page = page_of(
        look_at(store_of(root, tmp_path / "out"), BOUNDS, corpus="mine", strays=[]), tmp_path
    )
    assert page.count('<article class="card case"') == len(list((root / "wave16k").iterdir()))


def test_loudness_is_that_of_what_is_heard():
    """A sine of half full scale is 9.03 dB below it, whatever silence stands around."""
    facts = Facts(rate=16000, channels=1, format="WAV", subtype="PCM_16", frames=16000)
    sine = 0.5 * np.sin(2 * np.pi * 200 * np.arange(16000) / 16000).astype(np.float32)
    assert sound_statistics(sine, facts)["loudness"] == pytest.approx(-9.03, abs=0.01)
    padded = np.concatenate([np.zeros(32000, np.float32), sine])
    assert sound_statistics(padded, facts)["loudness"] == pytest.approx(-9.03, abs=0.01)
    assert sound_statistics(np.zeros(16000, np.float32), facts)["loudness"] is None
