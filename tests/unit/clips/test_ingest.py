"""Corpus to clip store to features: complete, reproducible, and faults are recorded."""

import shutil
from pathlib import Path
from typing import Any

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
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.03, speakers=3, seed=5)
    return root


def store_of(root: Path, out: Path, **options: Any) -> ClipStore:
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


def test_a_stored_clip_equals_the_files(corpus: Path, tmp_path: Path) -> None:
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


def test_the_store_does_not_depend_on_the_number_of_workers(corpus: Path, tmp_path: Path) -> None:
    digests = []
    for workers in (1, 2):
        store = store_of(corpus, tmp_path / str(workers), workers=workers)
        digests.append({path.name: sha256_file(path) for path in store.folder.glob("*.parquet")})
    assert digests[0] == digests[1]


def test_a_file_that_changed_after_its_snapshot_is_refused(corpus: Path, tmp_path: Path) -> None:
    root = shutil.copytree(corpus, tmp_path / "corpus")
    write_snapshot(root, tmp_path / "snapshot.json")
    with next((root / "textgrid").iterdir()).open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match="write a new snapshot"):
        ingest(root, tmp_path / "snapshot.json", tmp_path, speakers=[], clips_per_shard=4)


def test_missing_and_damaged_files_are_recorded_in_the_manifest(
    corpus: Path, tmp_path: Path
) -> None:
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


def test_a_changed_split_table_is_refused(corpus: Path, tmp_path: Path) -> None:
    """Otherwise test clips could become training clips unnoticed."""
    root = shutil.copytree(corpus, tmp_path / "corpus")
    write_snapshot(root, tmp_path / "snapshot.json")
    table = root / "train_test_split.csv"
    table.write_text(table.read_text().replace(",test", ",train"))
    (tmp_path / "clips").mkdir()
    with pytest.raises(
        InputError, match="train_test_split.csv: expected the file that the snapshot describes"
    ):
        ingest(root, tmp_path / "snapshot.json", tmp_path / "clips", speakers=[], clips_per_shard=4)


def test_a_clip_whose_files_were_all_removed_is_reported(corpus: Path, tmp_path: Path) -> None:
    root = shutil.copytree(corpus, tmp_path / "corpus")
    write_snapshot(root, tmp_path / "snapshot.json")
    gone = sorted((root / "wave16k").iterdir())[0].stem
    for path in root.glob(f"*/{gone}.*"):
        path.unlink()
    (tmp_path / "clips").mkdir()
    with pytest.raises(InputError, match=f"{gone}.*found no such file"):
        ingest(root, tmp_path / "snapshot.json", tmp_path / "clips", speakers=[], clips_per_shard=4)


def test_an_unknown_speaker_is_reported_in_one_line(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at least one clip of speakers \[99\], found none"):
        store_of(corpus, tmp_path / "out", speakers=[99])


def test_features_hold_every_accepted_frame_and_open_for_training(
    corpus: Path, tmp_path: Path
) -> None:
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


def test_words_of_test_clips_alone_are_known_to_published_features_only(
    corpus: Path, tmp_path: Path
) -> None:
    store = store_of(corpus, tmp_path / "out")
    split = store.manifest.set_index("clip_id")["split"]
    words_of_clip = {
        clip: {clean(word.text) for word in store.read(clip).words or []} for clip in split.index
    }
    training_words = set().union(
        *(words_of_clip[clip] for clip in split.index if split[clip] in ("train", "additional"))
    )
    new = set().union(*words_of_clip.values()) - training_words - {""}
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


def test_missing_validation_split_is_taken_from_training_clips_with_a_note() -> None:
    splits = {"a": "train", "b": "train", "c": "train", "d": "test"}
    settled, notes = complete_splits(splits, {"a": "3", "b": "1", "c": "2", "d": "4"}, 0.1)
    assert settled == {"a": "train", "b": "val", "c": "train", "d": "test"}
    assert "1 of 3 training clips" in notes[0]
    marked = {**splits, "e": "val"}
    assert complete_splits(marked, dict.fromkeys(marked, ""), 0.1) == (marked, [])


def test_an_empty_split_is_reported_in_one_line() -> None:
    with pytest.raises(InputError, match="in split test, found none"):
        complete_splits({"a": "train", "b": "val"}, {"a": "1", "b": "2"}, 0.1)


def test_the_manifest_states_the_format_of_the_audio_file(corpus: Path, tmp_path: Path) -> None:
    root = shutil.copytree(corpus, tmp_path / "corpus")
    path = sorted((root / "wave16k").iterdir())[0]
    waveform, _ = read_wav(path)
    soundfile.write(path, np.stack([waveform, waveform], axis=1), 16000, subtype="FLOAT")
    store = store_of(root, tmp_path / "out")
    row = store.manifest.iloc[0]
    assert (row["channels"], row["encoding"]) == (2, "FLOAT")
    np.testing.assert_allclose(store.read(path.stem).waveform, waveform, atol=2e-7)


def test_a_store_that_is_missing_or_lacks_a_clip_names_the_stage(
    corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"found no manifest.*run the stage ingest"):
        ClipStore(tmp_path)
    store = store_of(corpus, tmp_path / "out")
    with pytest.raises(InputError, match="9_nobody_0_1_1"):
        store.read("9_nobody_0_1_1")
