"""The registered model generates motion of every bundle, from speech alone."""

from dataclasses import replace

import pytest

from mambatalk.fidelity import Fidelity
from mambatalk.serving.registered import example, predictor
from tests.helpers.tiny_bundle import tiny_bundle


@pytest.mark.parametrize("fidelity", ["corrected", "published"])
def test_a_second_of_speech_gives_a_second_of_motion(fidelity: Fidelity) -> None:
    """Published synthesis alone would need recorded motion, and more than two seconds."""
    bundle = replace(tiny_bundle(), fidelity=fidelity)
    motion = predictor(bundle)(example(bundle))
    assert {name: len(array) for name, array in motion.items()} == dict.fromkeys(
        ("poses", "expressions", "trans"), 30
    )
