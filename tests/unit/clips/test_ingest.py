"""Corpus to clip store to features: whole, the same however many work on it, and honest about what
is missing.
"""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from mambatalk.clips.ingest import ingest
from mambatalk.clips.store import ClipStore
from mambatalk.config import FeaturesConfig
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.corpus.wave import read_wav
from mambatalk.errors import InputError
from mambatalk.features.build import build_features
from mambatalk.features.splits import complete_splits
from mambatalk.features.store import open_features
from mambatalk.fidelity import CORRECTED, FidelityRules
from mambatalk.files import read_json, sha256_file
from mambatalk.motion.clip import SmplxMotion
from mambatalk.sample.build import write_sample
from mambatalk.text.vocabulary import clean
from tests.helpers.stand_in_body import stand_in_body


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.03, speakers=3, seed=5)
    return root


def store_of(root, out, **options):
    out.mkdir(parents=True)
    write_snapshot(root, out / "snapshot.json")
    (out / "clips").mkdir()
    ingest(
        root,
        out / "snapshot.json",
        out / "clips",
        **{"speakers": [], "clips_per_shard": 4, **options},
    )
    return ClipStore(out / "clips")


def test_the_store_gives_back_what_the_files_hold(corpus, tmp_path):
    store = store_of(corpus, tmp_path / "out")
    clip_id = store.manifest["clip_id"][0]
    clip, motion = (
        store.read(clip_id),
        SmplxMotion.read(corpus / "smplxflame_30" / f"{clip_id}.npz"),
    )
    for name in ("poses", "trans", "expressions", "betas"):
        np.testing.assert_array_equal(getattr(clip.motion, name), getattr(motion, name))
    np.testing.assert_allclose(
        clip.waveform, read_wav(corpus / "wave16k" / f"{clip_id}.wav")[0], atol=2e-7
    )
    assert clip.words
    assert store.manifest["fault"].isna().all()


def test_the_bytes_do_not_depend_on_how_many_read(corpus, tmp_path):
    digests = []
    for workers in (1, 2):
        store = store_of(corpus, tmp_path / str(workers), workers=workers)
        digests.append({path.name: sha256_file(path) for path in store.folder.glob("*.parquet")})
    assert digests[0] == digests[1]


def test_a_file_that_changed_after_its_snapshot_is_refused(corpus, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    write_snapshot(root, tmp_path / "snapshot.json")
    with next((root / "textgrid").iterdir()).open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match="make a new snapshot"):
        ingest(root, tmp_path / "snapshot.json", tmp_path, speakers=[], clips_per_shard=4)


def test_what_is_missing_or_broken_is_a_fact_in_the_manifest(corpus, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    first, second, third = sorted(path.stem for path in (root / "wave16k").iterdir())[:3]
    (root / "wave16k" / f"{first}.wav").unlink()
    (root / "smplxflame_30" / f"{second}.npz").write_bytes(b"no npz")
    (root / "textgrid" / f"{third}.TextGrid").unlink()
    table = store_of(root, tmp_path / "out").manifest.set_index("clip_id")
    assert "no such file" in table.at[first, "fault"]
    assert "damaged npz" in table.at[second, "fault"]
    assert pd.isna(table.at[third, "fault"])
    assert not table.at[third, "has_textgrid"]


def test_another_split_table_than_the_snapshots_is_one_line(corpus, tmp_path):
    """Or test clips would become training clips without a word."""
    root = shutil.copytree(corpus, tmp_path / "corpus")
    write_snapshot(root, tmp_path / "snapshot.json")
    table = root / "train_test_split.csv"
    table.write_text(table.read_text().replace(",test", ",train"))
    (tmp_path / "clips").mkdir()
    with pytest.raises(
        InputError, match="train_test_split.csv: found other bytes than the snapshot's"
    ):
        ingest(root, tmp_path / "snapshot.json", tmp_path / "clips", speakers=[], clips_per_shard=4)


def test_a_clip_that_left_no_trace_is_missed(corpus, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    write_snapshot(root, tmp_path / "snapshot.json")
    gone = sorted((root / "wave16k").iterdir())[0].stem
    for path in root.glob(f"*/{gone}.*"):
        path.unlink()
    (tmp_path / "clips").mkdir()
    with pytest.raises(InputError, match=f"{gone}.*found no such file"):
        ingest(root, tmp_path / "snapshot.json", tmp_path / "clips", speakers=[], clips_per_shard=4)


def test_an_unknown_speaker_is_one_line(corpus, tmp_path):
    with pytest.raises(InputError, match=r"no clip of speakers \[99\]"):
        store_of(corpus, tmp_path / "out", speakers=[99])


def test_features_hold_every_accepted_frame_and_open_for_training(corpus, tmp_path):
    store = store_of(corpus, tmp_path / "out")
    accepted = list(store.manifest["clip_id"])
    (tmp_path / "features").mkdir()
    build_features(
        store,
        accepted,
        tmp_path / "features",
        body=stand_in_body(),
        rules=CORRECTED,
        config=FeaturesConfig(ctc_model=None, validation_share=0.1, clips_per_shard=4),
    )
    opened = open_features(tmp_path / "features", tmp_path / "cache")
    assert [clip.clip_id for clip in opened.clips] == accepted
    assert len(opened.motion) == store.manifest["frames"].sum()
    assert len(opened.motion) == read_json(tmp_path / "features/features.json")["frames"]
    clip = opened.clips[0]
    trans = opened.motion[opened.frames(clip)][:, 330:333]
    np.testing.assert_allclose(trans, store.read(clip.clip_id).motion.trans, atol=1e-6)
    assert set(np.unique(opened.motion[:, 333:])) == {0.0, 1.0}
    assert (opened.motion[opened.frames(clip)][-1, 333:] == 1).all()
    assert (np.load(tmp_path / "features/mean_velocity.npy") > 0).all()


def test_words_of_test_clips_alone_are_known_to_published_features_only(corpus, tmp_path):
    store = store_of(corpus, tmp_path / "out")
    split = store.manifest.set_index("clip_id")["split"]
    heard = {clip: {clean(word.text) for word in store.read(clip).words} for clip in split.index}
    learnt = set().union(
        *(heard[clip] for clip in split.index if split[clip] in ("train", "additional"))
    )
    new = set().union(*heard.values()) - learnt - {""}
    assert new
    for fidelity in ("corrected", "published"):
        (tmp_path / fidelity).mkdir()
        build_features(
            store,
            list(split.index),
            tmp_path / fidelity,
            body=stand_in_body(),
            rules=FidelityRules.of(fidelity),
            config=FeaturesConfig(ctc_model=None, validation_share=0.1, clips_per_shard=4),
        )
        known = set(read_json(tmp_path / fidelity / "vocabulary.json"))
        assert (new <= known) == (fidelity == "published")
        assert not new & known or fidelity == "published"


def test_validation_is_carved_from_train_and_said_so():
    splits = {"a": "train", "b": "train", "c": "train", "d": "test"}
    settled, notes = complete_splits(splits, {"a": "3", "b": "1", "c": "2", "d": "4"}, 0.1)
    assert settled == {"a": "train", "b": "val", "c": "train", "d": "test"}
    assert "1 of 3 training clips" in notes[0]
    marked = {**splits, "e": "val"}
    assert complete_splits(marked, dict.fromkeys(marked, ""), 0.1) == (marked, [])


def test_an_empty_split_is_one_line():
    with pytest.raises(InputError, match="in split test, found none"):
        complete_splits({"a": "train", "b": "val"}, {"a": "1", "b": "2"}, 0.1)


def test_a_float_wav_is_heard_and_a_stereo_one_is_said_to_be(corpus, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    path = sorted((root / "wave16k").iterdir())[0]
    wave, _ = read_wav(path)
    soundfile.write(path, np.stack([wave, wave], axis=1), 16000, subtype="FLOAT")
    store = store_of(root, tmp_path / "out")
    row = store.manifest.iloc[0]
    assert (row["channels"], row["encoding"]) == (2, "FLOAT")
    np.testing.assert_allclose(store.read(path.stem).wave, wave, atol=2e-7)
