"""Faults in time and of labels are found in the sample and in a clip of BEATX.

Each fault is planted in a corpus of one clip, because its rules need no other one.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from mambatalk.clips.reading import ClipJob, Row, read_clip
from mambatalk.clips.row import Clip, clip_from_row
from mambatalk.corpus.layout import KINDS, clip_path, parse_clip_id
from mambatalk.files import sha256_file
from tests.faults.conftest import figures_of, findings
from tests.faults.damage import Corpus
from tests.faults.faults_in_time import LABELS, TIME, Plant

REAL = Path(__file__).parents[2].parent / "shared" / "beatx_clips" / "beat_english_v2.0.0"
SAMPLED, RECORDED = "3_celia_0_4_4", ("2_scott_0_1_1", "2_scott_0_2_2")
needs_real_clips = pytest.mark.skipif(not REAL.is_dir(), reason="no real clips beside the checkout")
UNSEEN = {
    (SAMPLED, "clock"): "twenty seconds are too short for one per cent",
    **{
        (clip, "strokes_fit_sound"): "the arms of the recorded clips do not follow the stress"
        for clip in RECORDED
    },
}
CLIPS = (SAMPLED, *(pytest.param(clip, marks=needs_real_clips) for clip in RECORDED))


@pytest.fixture
def one_clip(sample: Path, tmp_path: Path) -> Callable[[str], Corpus]:
    """Return a function that copies one clip of the sample or of BEATX."""

    def copy(clip: str) -> Corpus:
        source = REAL if clip in RECORDED else sample
        corpus = Corpus(tmp_path)
        for kind in KINDS:
            target = corpus.path(clip, kind)
            target.parent.mkdir(exist_ok=True)
            original = clip_path(source, parse_clip_id(clip), kind)
            if original.exists():
                shutil.copyfile(original, target)
        return corpus

    return copy


class OneClip:
    """A corpus of one clip; its manifest has no columns that need other clips."""

    def __init__(self, row: Row, table: pa.Table) -> None:
        self.manifest = pd.DataFrame([row])
        self._table = table

    def read(self, clip_id: str) -> Clip:
        return clip_from_row(self._table)


def measured(corpus: Corpus, clip: str) -> OneClip:
    listed = {}
    for kind in KINDS:
        path = corpus.path(clip, kind)
        if path.exists():
            entry = {"size": path.stat().st_size, "sha256": sha256_file(path)}
            listed[str(path.relative_to(corpus.root))] = entry
    row, table = read_clip(ClipJob(corpus.root, parse_clip_id(clip), listed))
    assert table is not None
    return OneClip(row, table)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize(("plant", "rule"), [*TIME.values(), *LABELS.values()], ids=TIME | LABELS)
def test_a_fault_is_found_by_its_rule(
    plant: Plant, rule: str, clip: str, one_clip: Callable[[str], Corpus]
) -> None:
    if (clip, rule) in UNSEEN:
        pytest.skip(UNSEEN[clip, rule])
    corpus = one_clip(clip)
    plant(corpus, clip)
    store = measured(corpus, clip)
    assert rule in findings(store.manifest)[clip]
    assert any(figure.svg for figure in figures_of(store, clip, [rule]))


@pytest.mark.parametrize("clip", CLIPS)
def test_an_undamaged_clip_has_no_findings(clip: str, one_clip: Callable[[str], Corpus]) -> None:
    assert findings(measured(one_clip(clip), clip).manifest) == {}
