"""Half precision where a processor is fast at it, and metrics that do not depend on that."""

import ast

import pytest
import torch

from mambatalk.motion.skeleton import PARTS
from mambatalk.synthesis import precision
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.layout import ClipInputs, encode_windows
from mambatalk.synthesis.synthesizer import Synthesizer
from tasks import evaluate
from tests.helpers.documents import ROOT
from tests.helpers.speech import speech
from tests.helpers.tiny_bundle import tiny_bundle


@pytest.fixture
def bundle() -> Bundle:
    return tiny_bundle()


@pytest.fixture
def fast_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that is fast in half precision, and a bound that no network is below."""
    monkeypatch.setattr(precision, "has_half_instructions", lambda device: True)
    monkeypatch.setattr(precision, "SMALL_MODEL", 0)


@pytest.mark.usefixtures("fast_halves")
def test_a_large_model_uses_half_precision_where_the_processor_is_fast(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Synthesizer(bundle).precision == "half"
    assert Synthesizer(bundle, precision="single").precision == "single"
    monkeypatch.setattr(precision, "has_half_instructions", lambda device: False)
    assert Synthesizer(bundle).precision == "single"


def test_a_small_model_has_the_same_motion_on_every_processor(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_half_instructions", lambda device: True)
    assert Synthesizer(bundle).precision == "single"


@pytest.mark.usefixtures("fast_halves")
@pytest.mark.parametrize("codes", ["chain", "likely", "drawn"])
def test_metrics_do_not_depend_on_the_processor(bundle: Bundle, codes: str) -> None:
    assert evaluate._synthesizer(bundle, codes, seed=0).precision == "single"


def test_every_metric_chooses_its_precision() -> None:
    """Without one, metrics of large models would depend on the processor."""
    for folder in ("tasks", "mambatalk/published"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "Synthesizer":
                    arguments = [keyword.arg for keyword in node.keywords]
                    assert "precision" in arguments, f"{path}:{node.lineno}"


def test_half_precision_predicts_nearly_the_same(bundle: Bundle) -> None:
    predicted = {}
    for name in ("single", "half"):
        synthesizer = Synthesizer(bundle, precision=name)
        request = speech(4)
        inputs = ClipInputs.of(request, synthesizer.device)
        with torch.inference_mode():
            window = encode_windows(bundle.generator, [(inputs, 0)], synthesizer.layout)
            state = synthesizer.start(
                synthesizer.initial_motion(None)[None],
                torch.tensor([synthesizer.speaker_index(request.speaker_id)]),
            )
            predicted[name] = synthesizer.choice.scores(synthesizer.predict(state, window))
    for part in PARTS:
        single, half = predicted["single"][part], predicted["half"][part]
        assert half.dtype == torch.float32
        assert not torch.equal(half, single)
        assert (half - single).abs().mean() < 0.05 * single.std()


def test_rounding_weights_once_changes_no_bit(bundle: Bundle) -> None:
    """The weights in half precision are those that autocast would round for every window."""
    halved = Synthesizer(bundle, precision="half")
    rounding = Synthesizer(bundle, precision="half")
    rounding._network = bundle.generator
    clip = ClipInputs.of(speech(4), halved.device)
    with torch.inference_mode():
        window = halved.encode([(clip, 0)])
        state = halved.start(halved.initial_motion(None)[None], torch.tensor([0]))
        scores = halved.choice.scores(halved.predict(state, window))
        for part, expected in rounding.choice.scores(rounding.predict(state, window)).items():
            assert torch.equal(scores[part], expected)
    halves = [weight for weight in halved._network.parameters() if weight.dtype == torch.bfloat16]
    assert len(halves) > 50
    assert all(weight.dtype == torch.float32 for weight in bundle.generator.parameters())
