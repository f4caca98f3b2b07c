"""Ingest and features give the same bytes in one process, in several and on a Dask cluster."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mambatalk.clips import ingest as ingest_module
from mambatalk.clips.reading import ClipJob, read_clip
from mambatalk.clips.row import Clip
from mambatalk.clips.store import ClipStore
from mambatalk.config import FeaturesConfig
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.errors import InputError
from mambatalk.executors import DASK_ADDRESS
from mambatalk.features import build as features_module
from mambatalk.features import clip as clip_features
from mambatalk.features.clip import FeatureJob, extract_features
from mambatalk.fidelity import CORRECTED
from mambatalk.files import read_json, sha256_file
from mambatalk.sample.build import write_sample
from tasks.runtime.stage import threads, workers
from tests.helpers.stand_in_body import stand_in_body

DEATHS = "MAMBATALK_TEST_DEATHS"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.06, speakers=3, seed=5)
    write_snapshot(root, root.with_suffix(".json"))
    return root


def read_and_die(job: ClipJob) -> Any:
    die_once("read", str(job.clip) == "1_ada_0_2_2")
    return read_clip(job)


def make_and_die(job: FeatureJob) -> Any:
    die_once("made", job.row_group == 2)
    return extract_features(job)


def die_once(name: str, due: bool) -> None:
    """Kill the worker once, as the kernel does when memory runs out."""
    mark = Path(os.environ[DEATHS]) / name
    if due and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def bytes_of(
    corpus: Path, out: Path, monkeypatch: pytest.MonkeyPatch, workers: int = 1
) -> dict[str, str]:
    """Return the digests of all files that ingest and features write."""
    monkeypatch.setattr(ingest_module, "MIN_PARALLEL_CLIPS", 0)
    monkeypatch.setattr(features_module, "MAX_INLINE_SECONDS", 0)
    for folder in ("clips", "features"):
        (out / folder).mkdir(parents=True)
    ingest_module.ingest(
        corpus,
        corpus.with_suffix(".json"),
        out / "clips",
        speakers=[],
        clips_per_shard=4,
        workers=workers,
    )
    store = ClipStore(out / "clips")
    features_module.build_features(
        store,
        list(store.manifest["clip_id"]),
        out / "features",
        body=stand_in_body(),
        rules=CORRECTED,
        config=FeaturesConfig(ctc_model=None, validation_share=0.1, clips_per_shard=4),
        workers=workers,
    )
    return {
        path.relative_to(out).as_posix(): sha256_file(path)
        for path in out.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def inline(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return bytes_of(corpus, tmp_path_factory.mktemp("inline"), monkeypatch)


@pytest.mark.parametrize(
    ("name", "count"), [("MAMBATALK_WORKERS", workers), ("MAMBATALK_THREADS", threads)]
)
@pytest.mark.parametrize("text", ["abc", "0", "-1", "1.5"])
def test_an_invalid_number_of_workers_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, count: Callable[[], int], text: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(InputError, match=f"{name}: expected a positive integer, found '{text}'"):
        count()
    monkeypatch.setenv(name, "3")
    assert count() == 3


@pytest.mark.slow
def test_processes_write_the_same_bytes(
    corpus: Path, inline: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bytes_of(corpus, tmp_path, monkeypatch, workers=2) == inline


@pytest.mark.slow
def test_a_cluster_with_killed_workers_writes_the_same_bytes(
    corpus: Path, inline: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    (tmp_path / "deaths").mkdir()
    monkeypatch.setenv(DEATHS, str(tmp_path / "deaths"))
    monkeypatch.setattr(ingest_module, "read_clip", read_and_die)
    monkeypatch.setattr(features_module, "extract_features", make_and_die)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        monkeypatch.setenv(DASK_ADDRESS, cluster.scheduler_address)
        found = bytes_of(corpus, tmp_path / "out", monkeypatch)
    assert {mark.name for mark in (tmp_path / "deaths").iterdir()} == {"read", "made"}
    assert found == inline


def test_a_clip_without_features_is_named_in_the_notes(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(clip: Clip, *arguments: Any, **options: Any) -> Any:
        if clip.clip_id == "1_ada_0_2_2":
            raise ArithmeticError("an unexpected error")
        return frame_features(clip, *arguments, **options)

    frame_features = clip_features.frame_features
    monkeypatch.setattr(clip_features, "frame_features", fail)
    bytes_of(corpus, tmp_path, monkeypatch)
    notes = read_json(tmp_path / "features" / "features.json")["notes"]
    assert "1_ada_0_2_2 is left out: ArithmeticError: an unexpected error" in notes
