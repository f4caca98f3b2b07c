"""Every fault in the files of a clip is found by its rule, with the code of the stages."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mambatalk.clips.store import ClipStore
from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS, clip_rules
from tests.faults.conftest import figures_of, findings
from tests.faults.damage import Corpus
from tests.faults.faults_in_time import LABELS, TIME
from tests.faults.faults_of_clips import CLIP, FAULTS, Fault
from tests.faults.faults_of_motion import FAULTS as FAULTS_OF_MOTION
from tests.faults.faults_of_motion import UNUSUAL
from tests.faults.test_faults_between_clips import PLANTED
from tests.faults.test_faults_of_identity import COPIES, FOREIGN

IngestCorpus = Callable[[Path], ClipStore]
WITHOUT_FIGURE = {
    # Nothing can be read.
    "readable",
    # The fault is in the split table or in a header, and not in a signal.
    "listed",
    "frame_rate",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found_by_its_rule(
    fault: Fault, corpus: Corpus, ingest_corpus: IngestCorpus
) -> None:
    fault.plant(corpus)
    store = ingest_corpus(corpus.root)
    found = findings(store.manifest)
    assert set(found) == {CLIP}
    assert {fault.rule} | fault.also <= found[CLIP]
    if fault.rule not in WITHOUT_FIGURE:
        assert any(figure.svg for figure in figures_of(store, CLIP, [fault.rule]))


def test_an_undamaged_sample_has_no_findings(sample: Path, ingest_corpus: IngestCorpus) -> None:
    assert findings(ingest_corpus(sample).manifest) == {}


def test_every_rule_is_tested() -> None:
    tested = {fault.rule for fault in FAULTS}.union(
        *(rules for _, _, found in PLANTED for rules in found.values()),
        (rule for _, rule in (TIME | LABELS).values()),
        *(rules for _, rules in COPIES.values()),
        FOREIGN,
    )
    tested |= {fault.rule for fault in (*FAULTS_OF_MOTION, *UNUSUAL)}
    assert tested == {rule.name for rule in clip_rules(STANDARD_BOUNDS)}
