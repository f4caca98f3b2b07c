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
