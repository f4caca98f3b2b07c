"""Ingest and features give the same bytes inline, in processes and on a Dask cluster whose workers
are killed.
"""

import os
import signal
from pathlib import Path

import pytest

from mambatalk.clips import ingest as ingest_module
from mambatalk.clips.reading import read_clip
from mambatalk.clips.store import ClipStore
from mambatalk.config import FeaturesConfig
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.errors import InputError
from mambatalk.executors import DASK_ADDRESS
from mambatalk.features import build as features_module
from mambatalk.features import clip as clip_features
from mambatalk.features.clip import extract_features
from mambatalk.fidelity import CORRECTED
from mambatalk.files import read_json, sha256_file
from mambatalk.sample.build import write_sample
from tasks.runtime.stage import threads, workers
from tests.helpers.stand_in_body import stand_in_body

DEATHS = "MAMBATALK_TEST_DEATHS"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample") / "corpus"
    write_sample(root, hours=0.06, speakers=3, seed=5)
    write_snapshot(root, root.with_suffix(".json"))
    return root


def read_and_die(job):
    die_once("read", str(job.clip) == "1_ada_0_2_2")
    return read_clip(job)


def make_and_die(job):
    die_once("made", job.row_group == 2)
    return extract_features(job)


def die_once(name, due):
    """Kill the worker that is at it, as a lost machine or the kernel's memory killer would."""
    mark = Path(os.environ[DEATHS]) / name
    if due and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def bytes_of(corpus, out, monkeypatch, workers=1):
    """Digests of all files that ingest and features write."""
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
def inline(corpus, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return bytes_of(corpus, tmp_path_factory.mktemp("inline"), monkeypatch)


@pytest.mark.parametrize(
    ("name", "count"), [("MAMBATALK_WORKERS", workers), ("MAMBATALK_THREADS", threads)]
)
@pytest.mark.parametrize("text", ["abc", "0", "-1", "1.5"])
def test_a_number_of_workers_that_is_none_is_one_line(monkeypatch, name, count, text):
    monkeypatch.setenv(name, text)
    with pytest.raises(InputError, match=f"{name}: found '{text}'; expected a whole number from 1"):
        count()
    monkeypatch.setenv(name, "3")
    assert count() == 3


def test_processes(corpus, inline, tmp_path, monkeypatch):
    assert bytes_of(corpus, tmp_path, monkeypatch, workers=2) == inline


def test_a_cluster_whose_workers_are_killed(corpus, inline, tmp_path, monkeypatch):
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


def test_a_clip_that_fails_is_left_out_and_said_so(corpus, tmp_path, monkeypatch):
    def fail(clip, *arguments, **options):
        if clip.clip_id == "1_ada_0_2_2":
            raise ArithmeticError("nobody foresaw this")
        return whole(clip, *arguments, **options)

    whole = clip_features.frame_features
    monkeypatch.setattr(clip_features, "frame_features", fail)
    bytes_of(corpus, tmp_path, monkeypatch)
    notes = read_json(tmp_path / "features" / "features.json")["notes"]
    assert "1_ada_0_2_2 is left out: ArithmeticError: nobody foresaw this" in notes
