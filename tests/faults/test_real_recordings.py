"""Two real clips of BEATX raise no alarm, and faults planted in them are found as in the sample."""

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


def test_they_raise_no_alarm(take_in: Callable[[Path], ClipStore]) -> None:
    store = take_in(REAL)
    assert findings(store.manifest) == {}
    assert list(store.manifest["encoding"]) == ["FLOAT", "PCM_16"]
    assert list(store.manifest["has_semantics"]) == [True, False]


def test_an_offset_between_real_sound_and_motion_is_found(
    real: Corpus, take_in: Callable[[Path], ClipStore]
) -> None:
    for clip in (FIRST, SECOND):
        real.wave(clip, lambda samples: samples[RATE:])
    also = {"text_in_time", "text_ends_in_time", "text_fits_sound"}
    assert findings(take_in(real.root).manifest) == {
        clip: {"mouth_fits_sound", *also} for clip in (FIRST, SECOND)
    }


def test_a_real_motion_file_cut_short_is_found(
    real: Corpus, take_in: Callable[[Path], ClipStore]
) -> None:
    real.bytes(SECOND, "motion", lambda data: data[: len(data) // 2])
    assert findings(take_in(real.root).manifest) == {SECOND: {"readable"}}
