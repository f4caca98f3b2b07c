"""Every fault planted in a clip's files on disk is found on the way of the stages, under the rule
that names it.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from mambatalk.clips.store import ClipStore
from mambatalk.quality.rules import STANDARD_BOUNDS, clip_rules
from tests.faults.conftest import findings
from tests.faults.damage import Corpus
from tests.faults.faults_of_clips import CLIP, FAULTS, Fault
from tests.faults.test_faults_between_clips import PLANTED

TakeIn = Callable[[Path], ClipStore]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found_by_its_rule(
    fault: Fault, corpus: Corpus, take_in: TakeIn
) -> None:
    fault.plant(corpus)
    assert findings(take_in(corpus.root).manifest) == {CLIP: {fault.rule} | fault.also}


def test_a_clean_sample_raises_no_alarm(sample: Path, take_in: TakeIn) -> None:
    assert findings(take_in(sample).manifest) == {}


def test_no_rule_goes_untried() -> None:
    tried = {fault.rule for fault in FAULTS}.union(
        *(rules for _, _, found in PLANTED for rules in found.values())
    )
    assert tried == {rule.name for rule in clip_rules(STANDARD_BOUNDS)}
