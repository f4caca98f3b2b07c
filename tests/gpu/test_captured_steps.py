"""Training steps replayed as a CUDA graph against steps launched operation by operation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mambatalk.bench.step import SPEAKERS, VOCABULARY, random_batch
from mambatalk.config import Config, load_config
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import FidelityRules
from mambatalk.motion.skeleton import PARTS
from mambatalk.training.loop.module import Step
from mambatalk.training.loop.optim import build_optimizer
from mambatalk.training.loop.step import CapturedSteps, EagerSteps, StepResult, make_steps
from mambatalk.training.modules.generator import (
    GeneratorTraining,
    build_generator,
    optim_settings,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
PROFILE = Path(__file__).parents[2] / "infra/profiles/sample.yaml"


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(PROFILE)


def build(config: Config) -> GeneratorTraining:
    """Build the sample's generator without what is random in a step."""
    torch.manual_seed(0)
    settings = replace(config.train_generator, dropout=0.0, text_dropout=0.0, random_weight=0.0)
    rules = FidelityRules.of("corrected")
    size, width = config.train_vq.common.codebook_size, config.train_vq.common.width
    network = build_generator(
        settings,
        vocabulary_size=VOCABULARY,
        speakers=SPEAKERS,
        codebook_size=size,
        code_dim=width,
        rules=rules,
    )
    frames = settings.batch_size * settings.window
    codes = {part: torch.randint(size, (frames,), device="cuda") for part in PARTS}
    codebooks = {part: torch.randn(size, width, device="cuda") for part in PARTS}
    return GeneratorTraining(network, codes, codebooks, settings, rules).cuda().train()


def run(
    config: Config, kind: type[CapturedSteps] | type[EagerSteps], batches: list[WindowBatch]
) -> tuple[list[StepResult], Tensor]:
    """Make a step with each batch, the last half of them in the next epoch.

    Returns:
        Results, and all weights afterwards in one vector.

    """
    module = build(config)
    optim = optim_settings(config.train_generator, FidelityRules.of("corrected"))
    optimizer = build_optimizer(module, optim)
    check: Callable[[int, float], None] = lambda number, loss: None  # noqa: E731
    steps = kind(module, optimizer, optim.clip_norm, check)
    results = []
    for number, batch in enumerate(batches):
        epoch, number = divmod(number, len(batches) // 2)
        if epoch:
            for group in optimizer.param_groups:
                group["lr"] = optim.lr / 10
        results.append(steps(batch, Step(epoch=epoch, epochs=2, number=number)))
    steps.finish()
    weights = torch.cat([weight.detach().flatten() for weight in module.parameters()])
    return results, weights


@pytest.mark.parametrize(
    "changes",
    [{}, {"speaker": "adaptive"}, {"speaker": "attention"}, {"target": "motion"}],
    ids=["profile", "adaptive", "attention", "motion"],
)
def test_a_graph_makes_the_steps_of_single_operations(
    config: Config, changes: dict[str, Any]
) -> None:
    torch.manual_seed(1)
    settings = replace(config.train_generator, **changes)
    config = replace(config, train_generator=settings)
    device = torch.device("cuda")
    batches = [random_batch(settings.batch_size, settings.window, device) for _ in range(6)]
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        captured, captured_weights = run(config, CapturedSteps, batches)
        eager, eager_weights = run(config, EagerSteps, batches)
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(captured, eager, strict=True):
        for name, term in one.terms.items():
            assert term.item() == pytest.approx(other.terms[name].item(), rel=1e-3), name
        assert one.norm.item() == pytest.approx(other.norm.item(), rel=1e-2)
    start = torch.cat([weight.detach().flatten() for weight in build(config).parameters()])
    moved = (eager_weights - start).norm()
    assert (captured_weights - eager_weights).norm() / moved < 0.05


def test_a_step_that_is_not_finite_changes_no_weight_and_is_reported(config: Config) -> None:
    settings = config.train_generator
    batch = random_batch(settings.batch_size, settings.window, torch.device("cuda"))
    module = build(config)
    optim = optim_settings(settings, FidelityRules.of("corrected"))
    reported: list[tuple[int, float]] = []
    steps = make_steps(
        module,
        build_optimizer(module, optim),
        optim.clip_norm,
        lambda number, loss: reported.append((number, loss)),
    )
    assert isinstance(steps, CapturedSteps)
    for number in range(3):
        steps(batch, Step(epoch=0, epochs=1, number=number))
    before = [weight.detach().clone() for weight in module.parameters()]
    steps(batch._replace(motion=batch.motion * float("nan")), Step(epoch=0, epochs=1, number=3))
    steps.finish()
    for old, new in zip(before, module.parameters(), strict=True):
        assert torch.equal(old, new)
    assert [number for number, _ in reported] == [0, 1, 2, 3]
    finite = [loss == loss for _, loss in reported]
    assert finite == [True, True, True, False]
