"""A corpus of one's own: other speakers, names and languages, no semantics, no TextGrids, a split
table by hand.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mambatalk.clips.ingest import ingest
from mambatalk.clips.store import ClipStore
from mambatalk.config import FeaturesConfig
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.features.build import build_features
from mambatalk.features.store import open_features
from mambatalk.features.windows import windows
from mambatalk.fidelity import CORRECTED
from mambatalk.files import read_json
from mambatalk.motion.clip import SmplxMotion
from mambatalk.sample.build import write_sample
from tests.helpers.stand_in_body import stand_in_body

pytest.importorskip(
    "espeakng_loader", reason="eSpeak NG speaks the sample: pip install 'mambatalk[sample]'"
)
GUIDE = Path(__file__).parents[3] / "docs" / "own-data.md"
COMMAND = Path(sys.executable).with_name("mambatalk")
OWN = {"1_ada_0": "31_maria-luise_8", "2_bruno_0": "45_Ben_9", "3_celia_0": "1000_x_2"}
"""Sample clips by the speaker, name and recording type they get here."""
SPLITS = ("train", "train", "test", "train")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Motion and sound under new ids, and nothing else but the table."""
    sample, root = tmp_path_factory.mktemp("sample") / "corpus", tmp_path_factory.mktemp("own")
    write_sample(sample, hours=0.02, speakers=3, seed=3)
    table = ["id,type"]
    for folder, suffix in (("smplxflame_30", ".npz"), ("wave16k", ".wav")):
        (root / folder).mkdir()
        for prefix, name in OWN.items():
            for place, path in enumerate(sorted((sample / folder).glob(f"{prefix}_*"))):
                clip = f"{name}_{200 + place}_{200 + place}"
                shutil.copy(path, root / folder / f"{clip}{suffix}")
                table += [f"{clip},{SPLITS[place]}"] * (folder == "wave16k")
    (root / "train_test_split.csv").write_text("\n".join(table) + "\n")
    return root


def store_of(root, out):
    write_snapshot(root, out / "snapshot.json")
    (out / "clips").mkdir()
    ingest(root, out / "snapshot.json", out / "clips", speakers=[], clips_per_shard=4)
    return ClipStore(out / "clips")


def features_of(store, out):
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


def check(*arguments):
    done = subprocess.run(
        [COMMAND, "check", *map(str, arguments), "--workers", "1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_check_accepts_it_warns_of_missing_words_and_tells_what_it_passed_over(own, tmp_path):
    root = shutil.copytree(own, tmp_path / "own")
    count = len(list((root / "wave16k").iterdir()))
    shutil.copy(next((root / "wave16k").iterdir()), root / "wave16k" / "Maria Luise 1.wav")
    code, out, err = check(root, "--report", tmp_path / "quality")
    assert (code, err) == (0, "")
    told = [
        line
        for line in out.splitlines()
        if line.startswith(("quarantined", "critical", "warning", "ignored"))
    ]
    assert [line.split(":")[0] for line in told] == [
        "warning text",
        "ignored, name is not a clip id",
    ]
    assert told[1].endswith(": wave16k/Maria Luise 1.wav")
    page = (tmp_path / "quality" / "index.html").read_text()
    for shown in ("31 maria-luise", "45 Ben", "1000 x", "wave16k/Maria Luise 1.wav"):
        assert shown in page
    assert page.count(f"<dd>0 of {count}<span>") == 2, "TextGrids and semantics"


def test_a_clip_that_would_be_left_out_is_named_with_its_reason(own, tmp_path):
    root = shutil.copytree(own, tmp_path / "own")
    clip = next(
        path.stem for path in sorted((root / "wave16k").iterdir()) if path.stem.startswith("31_")
    )
    (root / "wave16k" / f"{clip}.wav").unlink()
    code, out, err = check(root, "--report", tmp_path / "quality")
    assert (code, err) == (1, "")
    assert f"quarantined {clip}: readable: wave16k/{clip}.wav: expected" in out
    assert (
        f'<article class="card case" id="{clip}">'
        in (tmp_path / "quality" / "index.html").read_text()
    )


def test_what_is_no_corpus_leaves_no_report(tmp_path):
    code, out, err = check(tmp_path / "nowhere", "--report", tmp_path / "quality")
    assert (code, out) == (2, "")
    assert "no such folder" in err
    assert list(tmp_path.iterdir()) == []


def test_it_becomes_features_that_training_reads(own, tmp_path):
    store = store_of(own, tmp_path)
    assert set(store.manifest["language"]) == {"other", "chinese"}
    opened = features_of(store, tmp_path)
    notes = read_json(tmp_path / "features" / "features.json")
    assert notes["speakers"] == {"31": 0, "45": 1, "1000": 2}
    assert notes["splits"]["val"] >= 1, "carved from train, as the table marks none"
    assert {clip.speaker_index for clip in opened.clips} == {0, 1, 2}
    assert not any(clip.has_text for clip in opened.clips)
    assert set(np.unique(opened.words)) == {0}, "without words all frames are silence"
    assert len(windows(opened, "train", length=64, stride=20, audio=True, rules=CORRECTED)) > 20


def test_words_of_any_script_are_words(own, tmp_path):
    root = shutil.copytree(own, tmp_path / "own")
    (root / "textgrid").mkdir()
    said = {
        "31_maria-luise_8_200_200": "Größe",
        "45_Ben_9_200_200": "año",
        "1000_x_2_200_200": "你好",
    }
    for clip, word in said.items():
        (root / "textgrid" / f"{clip}.TextGrid").write_text(
            f'''File type = "ooTextFile"
Object class = "TextGrid"

0 4 <exists> 1
"IntervalTier" "{clip.split("_")[1]} - words" 0 4 2
0 1.5 "{word}" 1.5 4 ""
''',
            encoding="utf-8",
        )
    table = root / "train_test_split.csv"
    table.write_text(
        table.read_text().replace(",test", ",val", 1)
    )  # Else one of the three might be carved for it.
    store = store_of(root, tmp_path)
    heard = store.manifest.set_index("clip_id")["words"].dropna().to_dict()
    assert heard == dict.fromkeys(said, 1)
    features_of(store, tmp_path)
    assert {"Größe", "año", "你好"} <= set(read_json(tmp_path / "features" / "vocabulary.json"))


def test_the_guides_way_to_write_motion_is_read_back(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    found = {}
    exec(code, found)
    poses, betas = np.random.default_rng(0).normal(size=(90, 165)), np.ones(10)
    found["write_clip"](
        tmp_path / "31_maria_8_1_1.npz", poses, np.zeros((90, 3)), np.ones((90, 50)), betas
    )
    motion = SmplxMotion.read(tmp_path / "31_maria_8_1_1.npz")
    np.testing.assert_array_equal(motion.poses, poses.astype(np.float32))
    assert (motion.expressions.sum(), motion.betas.sum(), motion.fps) == (90 * 50, 10, 30)
