"""Faults in time and of labels are found in the sample and in a clip of BEATX.

Each fault is planted in a corpus of one clip, because its rules need no other one.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mambatalk.clips.reading import ClipJob, read_clip
from mambatalk.corpus.layout import KINDS, clip_path, parse_clip_id
from mambatalk.files import sha256_file
from tests.faults.conftest import findings
from tests.faults.damage import Corpus
from tests.faults.faults_in_time import LABELS, TIME, Plant

REAL = Path(__file__).parents[2].parent / "shared" / "beatx_clips" / "beat_english_v2.0.0"
SAMPLED, RECORDED = "3_celia_0_4_4", "2_scott_0_1_1"
needs_real_clips = pytest.mark.skipif(not REAL.is_dir(), reason="no real clips beside the checkout")
UNSEEN = {
    (SAMPLED, "clock"): "twenty seconds are too short for one per cent",
    (RECORDED, "strokes_fit_sound"): "the arms of the recorded clip do not follow the stress",
}
CLIPS = (SAMPLED, pytest.param(RECORDED, marks=needs_real_clips))


@pytest.fixture
def one_clip(sample: Path, tmp_path: Path) -> Callable[[str], Corpus]:
    """Return a function that copies one clip of the sample or of BEATX."""

    def copy(clip: str) -> Corpus:
        source = REAL if clip == RECORDED else sample
        corpus = Corpus(tmp_path)
        for kind in KINDS:
            target = corpus.path(clip, kind)
            target.parent.mkdir(exist_ok=True)
            original = clip_path(source, parse_clip_id(clip), kind)
            if original.exists():
                shutil.copyfile(original, target)
        return corpus

    return copy


def measured(corpus: Corpus, clip: str) -> pd.DataFrame:
    """Return the manifest of a corpus of one clip, without columns that need other clips."""
    listed = {}
    for kind in KINDS:
        path = corpus.path(clip, kind)
        if path.exists():
            entry = {"size": path.stat().st_size, "sha256": sha256_file(path)}
            listed[str(path.relative_to(corpus.root))] = entry
    row, _ = read_clip(ClipJob(corpus.root, parse_clip_id(clip), listed))
    return pd.DataFrame([row])


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize(("plant", "rule"), [*TIME.values(), *LABELS.values()], ids=TIME | LABELS)
def test_a_fault_is_found_by_its_rule(
    plant: Plant, rule: str, clip: str, one_clip: Callable[[str], Corpus]
) -> None:
    if (clip, rule) in UNSEEN:
        pytest.skip(UNSEEN[clip, rule])
    corpus = one_clip(clip)
    plant(corpus, clip)
    assert rule in findings(measured(corpus, clip))[clip]


@pytest.mark.parametrize("clip", CLIPS)
def test_an_undamaged_clip_has_no_findings(clip: str, one_clip: Callable[[str], Corpus]) -> None:
    assert findings(measured(one_clip(clip), clip)) == {}
