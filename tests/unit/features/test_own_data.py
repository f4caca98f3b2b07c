"""A user's own corpus: other speakers, names and languages, without semantics and TextGrids."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mambatalk.clips.ingest import ingest
from mambatalk.clips.store import ClipStore
from mambatalk.config import FeaturesConfig
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.features.build import build_features
from mambatalk.features.store import FeatureStore, open_features
from mambatalk.features.windows import windows
from mambatalk.fidelity import CORRECTED
from mambatalk.files import read_json
from mambatalk.motion.clip import SmplxMotion
from mambatalk.sample.build import write_sample
from tests.helpers.stand_in_body import stand_in_body

pytest.importorskip(
    "espeakng_loader", reason="the sample needs eSpeak NG: pip install 'mambatalk[sample]'"
)
GUIDE = Path(__file__).parents[3] / "docs" / "own-data.md"
COMMAND = Path(sys.executable).with_name("mambatalk")
NEW_PREFIX = {"1_ada_0": "31_maria-luise_8", "2_bruno_0": "45_Ben_9", "3_celia_0": "1000_x_2"}
"""New speaker, name and recording type of the clips of the sample."""
SPLITS = ("train", "train", "test", "train")
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

0 4 <exists> 1
"IntervalTier" "{name} - words" 0 4 2
0 1.5 "{word}" 1.5 4 ""
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Motion and audio of the sample under new ids, and a split table."""
    sample = tmp_path_factory.mktemp("sample") / "corpus"
    root = tmp_path_factory.mktemp("own")
    write_sample(sample, hours=0.02, speakers=3, seed=3)
    splits = {}
    for folder, suffix in (("smplxflame_30", ".npz"), ("wave16k", ".wav")):
        (root / folder).mkdir()
        for prefix, new_prefix in NEW_PREFIX.items():
            for number, path in enumerate(sorted((sample / folder).glob(f"{prefix}_*"))):
                clip_id = f"{new_prefix}_{200 + number}_{200 + number}"
                shutil.copy(path, root / folder / f"{clip_id}{suffix}")
                splits[clip_id] = SPLITS[number]
    rows = ["id,type", *(f"{clip_id},{split}" for clip_id, split in splits.items())]
    (root / "train_test_split.csv").write_text("\n".join(rows) + "\n")
    return root


def ingest_corpus(root: Path, out: Path) -> ClipStore:
    write_snapshot(root, out / "snapshot.json")
    (out / "clips").mkdir()
    ingest(root, out / "snapshot.json", out / "clips", speakers=[], clips_per_shard=4)
    return ClipStore(out / "clips")


def extract_features(store: ClipStore, out: Path) -> FeatureStore:
    (out / "features").mkdir()
    build_features(
        store,
        list(store.manifest["clip_id"]),
        out / "features",
        body=stand_in_body(),
        rules=CORRECTED,
        config=FeaturesConfig(ctc_model=None, validation_share=0.1, clips_per_shard=4),
    )
    return open_features(out / "features", out / "cache")


def run_check(root: Path, report: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "check", root, "--report", report, "--workers", "1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_check_warns_of_missing_words_and_names_ignored_files(corpus: Path, tmp_path: Path) -> None:
    root = shutil.copytree(corpus, tmp_path / "own")
    clips = sorted((root / "wave16k").iterdir())
    shutil.copy(clips[0], root / "wave16k" / "Maria Luise 1.wav")
    done = run_check(root, tmp_path / "quality")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith(("quarantined", "critical"))] == []
    warnings = [line for line in lines if line.startswith("warning")]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning text:")
    assert any(line.endswith(": wave16k/Maria Luise 1.wav") for line in lines)

    page = (tmp_path / "quality" / "index.html").read_text(encoding="utf-8")
    for text in ("31 maria-luise", "45 Ben", "1000 x", "wave16k/Maria Luise 1.wav"):
        assert text in page
    assert page.count(f"<dd>0 of {len(clips)}<span>") == 2, "TextGrids and semantics"


@pytest.mark.slow
def test_check_names_a_quarantined_clip_with_its_reason(corpus: Path, tmp_path: Path) -> None:
    root = shutil.copytree(corpus, tmp_path / "own")
    audio = min((root / "wave16k").glob("31_*"))
    audio.unlink()
    done = run_check(root, tmp_path / "quality")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(
        rf"quarantined {audio.stem}: readable: wave16k/{audio.name}: expected", done.stdout
    )
    page = (tmp_path / "quality" / "index.html").read_text(encoding="utf-8")
    assert f'<article class="card case" id="{audio.stem}">' in page


def test_check_writes_no_report_without_a_corpus(tmp_path: Path) -> None:
    done = run_check(tmp_path / "nowhere", tmp_path / "quality")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_features_can_be_used_for_training(corpus: Path, tmp_path: Path) -> None:
    store = ingest_corpus(corpus, tmp_path)
    assert set(store.manifest["language"]) == {"other", "chinese"}
    features = extract_features(store, tmp_path)
    summary = read_json(tmp_path / "features" / "features.json")
    assert summary["speakers"] == {"31": 0, "45": 1, "1000": 2}
    assert summary["splits"]["val"] >= 1, "training clips are used if no clip is in val"
    assert {clip.speaker_index for clip in features.clips} == {0, 1, 2}
    assert not any(clip.has_text for clip in features.clips)
    assert set(np.unique(features.words)) == {0}, "all frames are padding without words"
    rows = windows(features, "train", length=64, stride=20, audio=True, rules=CORRECTED)
    assert len(rows) > 20


def test_words_may_use_any_script(corpus: Path, tmp_path: Path) -> None:
    root = shutil.copytree(corpus, tmp_path / "own")
    (root / "textgrid").mkdir()
    word_of = {
        "31_maria-luise_8_200_200": "Größe",
        "45_Ben_9_200_200": "año",
        "1000_x_2_200_200": "你好",
    }
    for clip_id, word in word_of.items():
        text = TEXTGRID.format(name=clip_id.split("_")[1], word=word)
        (root / "textgrid" / f"{clip_id}.TextGrid").write_text(text, encoding="utf-8")
    # With a validation clip, none of the three clips is taken out of training.
    table = root / "train_test_split.csv"
    table.write_text(table.read_text().replace(",test", ",val", 1))

    store = ingest_corpus(root, tmp_path)
    counts = store.manifest.set_index("clip_id")["words"].dropna().to_dict()
    assert counts == dict.fromkeys(word_of, 1)
    extract_features(store, tmp_path)
    vocabulary = read_json(tmp_path / "features" / "vocabulary.json")
    assert set(word_of.values()) <= set(vocabulary)


def test_motion_written_as_in_the_guide_can_be_read(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    poses = np.random.default_rng(0).normal(size=(90, 165))
    trans = np.zeros((90, 3))
    path = tmp_path / "31_maria_8_1_1.npz"
    namespace["write_clip"](path, poses, trans, np.ones((90, 50)), np.ones(10))
    motion = SmplxMotion.read(path)
    np.testing.assert_array_equal(motion.poses, poses.astype(np.float32))
    assert (motion.expressions.sum(), motion.betas.sum(), motion.fps) == (90 * 50, 10, 30)
