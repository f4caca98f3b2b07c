"""Two clips of BEATX have no findings, and faults in them are found as in the sample."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mambatalk.clips.store import ClipStore
from tests.faults.conftest import findings
from tests.faults.damage import RATE, Corpus

REAL = Path(__file__).parents[2].parent / "shared" / "beatx_clips" / "beat_english_v2.0.0"
FIRST, SECOND = "2_scott_0_1_1", "2_scott_0_2_2"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no real clips beside the checkout")


@pytest.fixture
def real(tmp_path: Path) -> Corpus:
    root = shutil.copytree(REAL, tmp_path / "real", copy_function=shutil.copy)
    for path in (root, *root.rglob("*")):
        path.chmod(0o755)
    return Corpus(root)


def test_clips_of_beatx_have_no_findings(ingest_corpus: Callable[[Path], ClipStore]) -> None:
    store = ingest_corpus(REAL)
    assert findings(store.manifest) == {}
    assert list(store.manifest["encoding"]) == ["FLOAT", "PCM_16"]
    assert list(store.manifest["has_semantics"]) == [True, False]


@pytest.mark.parametrize(
    ("wrong", "conflict"),
    [
        ("2_scott_1_65_65", "conversation number 65; BEAT has 1 to 12 of scott"),
        ("2_scott_0_119_119", "speech number 119; BEAT has 1 to 118 of scott"),
        ("2_scott_0_64_65", "recordings 64 to 65 are neutral and happiness"),
    ],
)
def test_an_id_that_no_recording_can_have_is_found(
    wrong: str, conflict: str, real: Corpus, ingest_corpus: Callable[[Path], ClipStore]
) -> None:
    real.rename(SECOND, wrong)
    manifest = ingest_corpus(real.root).manifest
    assert findings(manifest) == {wrong: {"id_agrees"}}
    assert manifest.set_index("clip_id").loc[wrong, "id_conflict"] == conflict


def test_an_offset_between_audio_and_motion_is_found(
    real: Corpus, ingest_corpus: Callable[[Path], ClipStore]
) -> None:
    for clip in (FIRST, SECOND):
        real.wave(clip, lambda samples: samples[RATE:])
    also = {"text_in_time", "text_ends_in_time", "text_fits_sound"}
    assert findings(ingest_corpus(real.root).manifest) == {
        clip: {"mouth_fits_sound", *also} for clip in (FIRST, SECOND)
    }


def test_a_truncated_motion_file_is_found(
    real: Corpus, ingest_corpus: Callable[[Path], ClipStore]
) -> None:
    real.bytes(SECOND, "motion", lambda data: data[: len(data) // 2])
    assert findings(ingest_corpus(real.root).manifest) == {SECOND: {"readable"}}
