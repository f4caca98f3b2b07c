"""Compiled and recorded training steps of auto-encoders against single operations."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mambatalk.bench.step import random_batch
from mambatalk.bench.train import _auto_encoder_steps, _body_with_pose_shapes, _without_compilation
from mambatalk.config import Config, load_config
from mambatalk.features.windows import WindowBatch
from mambatalk.models.vq.quantizer import QuantizerKind
from mambatalk.motion.body import Body
from mambatalk.motion.skeleton import AUTO_ENCODERS, AutoEncoderName
from mambatalk.training.loop.module import Step
from mambatalk.training.loop.step import CapturedSteps, StepResult

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
PROFILE = Path(__file__).parents[2] / "infra/profiles/sample.yaml"
DEVICE = torch.device("cuda")


@pytest.fixture(scope="module")
def config() -> Config:
    sample = load_config(PROFILE)
    # All frames in the mesh terms: a graph draws others than single operations do.
    return replace(sample, body=replace(sample.body, mesh_frames=0))


@pytest.fixture(scope="module")
def body() -> Body:
    return _body_with_pose_shapes().to(DEVICE)


def with_quantizer(config: Config, kind: QuantizerKind) -> Config:
    common = replace(config.train_vq.common, quantizer=kind)
    return replace(config, train_vq=replace(config.train_vq, common=common))


def run(
    part: AutoEncoderName, config: Config, body: Body, batches: list[WindowBatch], *, captured: bool
) -> tuple[list[StepResult], Tensor]:
    """Make a step with each batch, without revival of codes; return results and all weights."""
    steps = _auto_encoder_steps(part, config, body, DEVICE, fidelity="corrected", captured=captured)
    torch.manual_seed(1)
    # From the epoch of the decay on no code is revived: a graph and single operations draw others.
    epoch = config.train_vq.network(part).decay_epoch
    results = [
        steps(batch, Step(epoch=epoch, epochs=epoch + 1, number=number))
        for number, batch in enumerate(batches)
    ]
    steps.finish()
    # Code vectors that are moving averages are not parameters.
    state = steps._module.network.state_dict()  # type: ignore[union-attr, operator]
    return results, torch.cat([weight.flatten() for weight in state.values()])


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        *((part, "learned") for part in AUTO_ENCODERS),
        *(("upper", kind) for kind in ("moving_average", "scalar", "product")),
    ],
)
def test_a_graph_makes_the_steps_of_single_operations(
    part: AutoEncoderName, kind: QuantizerKind, config: Config, body: Body
) -> None:
    config = with_quantizer(config, kind)
    torch.manual_seed(0)
    batches = [
        random_batch(8, config.train_vq.common.window, DEVICE)._replace(audio=None)
        for _ in range(6)
    ]
    recorded, recorded_weights = run(part, config, body, batches, captured=True)
    with _without_compilation():
        single, single_weights = run(part, config, body, batches, captured=False)

    for one, other in zip(recorded, single, strict=True):
        for name, term in one.terms.items():
            assert term.item() == pytest.approx(other.terms[name].item(), rel=1e-2), name
    assert (recorded_weights - single_weights).norm() / single_weights.norm() < 1e-2


@pytest.mark.parametrize("kind", ["moving_average", "product"])
def test_dead_codes_of_every_codebook_come_back_within_a_graph(
    kind: QuantizerKind, config: Config, body: Body
) -> None:
    config = with_quantizer(config, kind)
    steps = _auto_encoder_steps("upper", config, body, DEVICE, fidelity="corrected", captured=True)
    codebooks = steps._module.network.quantizer.codebooks  # type: ignore[union-attr]
    for codebook in codebooks:
        with torch.no_grad():
            codebook.table[1:] += 1e3
    batch = random_batch(8, config.train_vq.common.window, DEVICE)._replace(audio=None)
    for number in range(24):
        steps(batch, Step(epoch=0, epochs=3, number=number))
    steps.finish()
    assert all((codebook.table < 100).all() for codebook in codebooks)


def test_dead_codes_are_revived_within_a_graph(config: Config, body: Body) -> None:
    steps = _auto_encoder_steps("upper", config, body, DEVICE, fidelity="corrected", captured=True)
    assert isinstance(steps, CapturedSteps)
    module = steps._module
    batch = random_batch(8, config.train_vq.common.window, DEVICE)._replace(audio=None)
    before = module.network.quantizer.table.detach().clone()  # type: ignore[union-attr]
    for number in range(40):
        steps(batch, Step(epoch=0, epochs=3, number=number))
    steps.finish()
    after = module.network.quantizer.table.detach()  # type: ignore[union-attr]
    moved = (after - before).norm(dim=1)
    # The optimizer moves a code by at most the learning rate a step; revival moves it further.
    assert (moved > 3 * 40 * config.train_vq.upper.lr).any()
    assert (module.revivals[0].shares > 0).all()  # type: ignore[union-attr]
