"""Training steps, as published and of this project, in turns on one device.

The generator's published step runs three whole passes, audio encoders included, encodes its targets
anew with the auto-encoders, and computes in single precision; its scan is the kernel of mamba-ssm.
It is written here from a description of the published trainer. The auto-encoders' published step
differs from ours in its losses, and is launched operation by operation.

In several processes, which `torchrun` starts, our step is timed on one GPU and on all of them.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast
from unittest.mock import patch

import torch
from torch import Tensor

from mambatalk.bench.step import SPEAKERS, VOCABULARY, random_batch
from mambatalk.config import Config, TrainGeneratorConfig, VQCommonConfig
from mambatalk.console import Progress
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import PUBLISHED, Fidelity, FidelityRules
from mambatalk.models.generator.conditioning import full_mask
from mambatalk.models.generator.network import BODY_CHANNELS, Generator
from mambatalk.models.mamba import scan
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.body import Body, load_body
from mambatalk.motion.parts import part_input
from mambatalk.motion.skeleton import PARTS, AutoEncoderName, Part
from mambatalk.motion.stand_in.model import write_stand_in
from mambatalk.training.loop.distributed import processes
from mambatalk.training.loop.module import LossTerms, Step, TrainingModule
from mambatalk.training.loop.optim import OptimSettings, build_optimizer
from mambatalk.training.loop.step import SHARED_WARM_UP, CapturedSteps, EagerSteps
from mambatalk.training.modules import part_losses
from mambatalk.training.modules.generator import GeneratorTraining, build_generator, optim_settings
from mambatalk.training.modules.generator_step import FULL_PARTS, index_loss, latent_loss
from mambatalk.training.modules.vq import build_auto_encoder, build_training

WARM_UP: Final = 3


@dataclass
class StepTiming:
    """Times of one kind of step."""

    name: str
    windows: int
    """Windows of a step, those of all processes together."""
    memory: int
    """Largest memory on the GPU in bytes, weights and optimizer included; 0 on a CPU."""
    seconds: list[float] = field(default_factory=list)
    """Mean seconds of a step in each repetition."""

    @property
    def median(self) -> float:
        """Median of all repetitions in seconds."""
        return statistics.median(self.seconds)

    @property
    def speed(self) -> float:
        """Windows a second, by the median."""
        return self.windows / self.median


class PublishedStep(TrainingModule):
    """The published training step.

    Args:
        network: The generator.
        auto_encoders: The auto-encoder of each part. They are not trained here.
        context_frames: Visible frames of the first pass.

    """

    def __init__(
        self, network: Generator, auto_encoders: Mapping[Part, VQVAE], context_frames: int
    ) -> None:
        super().__init__("published")
        self.network = network
        # In a dictionary, so that their weights are not among the parameters of this module.
        self.auto_encoders = dict(auto_encoders)
        self.context_frames = context_frames
        self.rules = FidelityRules.of("published")

    def forward(self, batch: WindowBatch, step: Step) -> LossTerms:
        """Return the loss terms of the three passes."""
        vectors: dict[Part, Tensor] = {}
        codes: dict[Part, Tensor] = {}
        with torch.no_grad():
            for part, network in self.auto_encoders.items():
                channels = part_input(part, batch.motion, batch.expressions, rules=self.rules)
                quantized = network.quantize(network.encode(channels))
                vectors[part] = quantized.vectors
                codes[part] = quantized.index

        assert batch.audio is not None
        hidden = torch.rand(batch.motion.shape, device=batch.motion.device) < 0.5
        masks = [full_mask(batch.motion, self.context_frames), hidden, hidden]
        terms = {}
        for number, mask in enumerate(masks):
            output = self.network(
                batch.audio,
                batch.audio[..., :BODY_CHANNELS],
                batch.words,
                batch.speaker_index,
                batch.motion,
                mask,
            )
            terms[f"latent_{number}"] = latent_loss(output, vectors)
            terms[f"index_{number}"] = index_loss(output, codes, PARTS if number else FULL_PARTS)
        return terms


Steps = EagerSteps | CapturedSteps
Conditions = Callable[[], AbstractContextManager[object]]


class Kind(NamedTuple):
    """A kind of step, and what it is timed with."""

    name: str
    build: Callable[[], Steps]
    batch: int
    """Windows of each process."""
    conditions: Conditions = nullcontext
    shared: bool = False
    """Whether all processes make the step together."""


Network = Literal["generator", AutoEncoderName]
"""What `mambatalk bench train` can train."""


def measure_training(
    config: Config,
    network: Network = "generator",
    *,
    steps: int,
    repeat: int,
    device: torch.device,
    progress: Progress | None = None,
) -> list[StepTiming]:
    """Time the published step and ours in turns.

    In several processes, time ours on one GPU, on all GPUs with the batch divided among them, and
    on all GPUs with a whole batch each.

    Args:
        config: Configuration with the sizes and the batch size.
        network: Which network to train.
        steps: Steps of a repetition.
        repeat: Repetitions of every kind.
        device: Where to compute.
        progress: Called after each repetition of all kinds.

    Returns:
        One timing for each kind of step. The last one is the step that trainings make.

    """
    settings = _settings(network, config)
    if processes() > 1:
        kinds = _shared_kinds(network, config, device)
    elif network == "generator":
        kinds = _generator_kinds(config, device)
    else:
        kinds = _auto_encoder_kinds(network, config, device)
    step = Step(epoch=1, epochs=2, number=0)
    timings = []
    runs = []
    for kind in kinds:
        batch = random_batch(kind.batch, settings.window, device)
        if network != "generator":
            batch = batch._replace(audio=None)
        before = _allocated(device)
        run = kind.build()
        for _ in range(WARM_UP + (SHARED_WARM_UP if kind.shared else 0)):
            with kind.conditions():
                run(batch, step)
        windows = kind.batch * (processes() if kind.shared else 1)
        timings.append(StepTiming(kind.name, windows, _peak(device) - before))
        runs.append((run, kind.conditions, batch))

    for number in range(repeat):
        for timing, (run, conditions, batch) in zip(timings, runs, strict=True):
            start = _now(device)
            with conditions():
                for _ in range(steps):
                    run(batch, step)
            timing.seconds.append((_now(device) - start) / steps)
        if progress is not None:
            progress(number + 1, repeat)
    return timings


def _settings(network: Network, config: Config) -> TrainGeneratorConfig | VQCommonConfig:
    """Return the section with batch size and length of the windows."""
    return config.train_generator if network == "generator" else config.train_vq.common


def _shared_kinds(network: Network, config: Config, device: torch.device) -> list[Kind]:
    """Return our step in one process, and in all of them together."""
    if network == "generator":
        build: Callable[..., Steps] = partial(_our_steps, config, device)
    else:
        body = _body_with_pose_shapes().to(device)
        build = partial(_auto_encoder_steps, network, config, body, device, fidelity="corrected")
    build = partial(build, captured=device.type == "cuda")
    shared = partial(build, shared=True)
    count = processes()
    whole = _settings(network, config).batch_size
    return [
        Kind(f"one process, batch {whole}", build, whole),
        Kind(f"{count} processes, batch {whole} together", shared, whole // count, shared=True),
        Kind(f"{count} processes, batch {whole} each", shared, whole, shared=True),
    ]


def _generator_kinds(config: Config, device: torch.device) -> list[Kind]:
    batch = config.train_generator.batch_size
    published = partial(_published_steps, config, device)
    ours = partial(_our_steps, config, device)
    if device.type == "cpu":
        return [Kind("published", published, batch), Kind("ours", ours, batch)]
    single_precision = partial(_published_conditions, tf32=False)
    tf32 = partial(_published_conditions, tf32=True)
    return [
        Kind("published", published, batch, single_precision),
        Kind("published, TF32", published, batch, tf32),
        Kind("ours, without a graph", ours, batch),
        Kind("ours", partial(ours, captured=True), batch),
    ]


def _auto_encoder_kinds(part: AutoEncoderName, config: Config, device: torch.device) -> list[Kind]:
    batch = config.train_vq.common.batch_size
    body = _body_with_pose_shapes().to(device)
    published = partial(_auto_encoder_steps, part, config, body, device, fidelity="published")
    ours = partial(_auto_encoder_steps, part, config, body, device, fidelity="corrected")
    if device.type == "cpu":
        return [Kind("published losses", published, batch), Kind("ours", ours, batch)]
    launched = "operation by operation"
    return [
        Kind(f"published losses, {launched}", published, batch, _without_compilation),
        Kind(f"ours, {launched}", ours, batch, _without_compilation),
        Kind("ours", partial(ours, captured=True), batch),
    ]


@contextmanager
def _without_compilation() -> Iterator[None]:
    """Compute the losses of auto-encoders as on a CPU."""
    with patch.object(part_losses, "_compiled", lambda function: function):
        yield


def _auto_encoder_steps(
    part: AutoEncoderName,
    config: Config,
    body: Body,
    device: torch.device,
    *,
    fidelity: Fidelity,
    captured: bool = False,
    shared: bool = False,
) -> Steps:
    common = config.train_vq.common
    section = config.train_vq.network(part)
    rules = FidelityRules.of(fidelity)
    torch.manual_seed(config.seed)
    network = build_auto_encoder(
        part,
        width=common.width,
        layers=section.layers,
        codebook_size=common.codebook_size,
        # Published training has no other.
        quantizer="learned" if rules == PUBLISHED else common.quantizer,
        rules=rules,
    )
    module = build_training(
        part,
        network,
        body,
        common=common,
        config=section,
        mesh_vertices=config.body.mesh_vertices,
        mesh_frames=config.body.mesh_frames,
        rules=rules,
    )
    module.to(device).train()
    optim = OptimSettings(
        epochs=section.epochs, lr=section.lr, betas=common.betas, fused=device.type == "cuda"
    )
    return _steps(module, optim, captured=captured, shared=shared)


def _body_with_pose_shapes() -> Body:
    """Return a body that costs what SMPL-X does: the stand-in, with random pose blend shapes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.npz"
        write_stand_in(path)
        body = load_body(path)
    body.posedirs.normal_(std=1e-4)
    body.has_pose_shapes = True
    return body


@contextmanager
def _published_conditions(*, tf32: bool) -> Iterator[None]:
    """Use the kernel of mamba-ssm, and single precision or TF32 for products."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        with patch.object(scan, "SHORT", 0):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _published_steps(config: Config, device: torch.device) -> Steps:
    rules = FidelityRules.of("published")
    common = config.train_vq.common
    auto_encoders = {}
    for part in PARTS:
        network = build_auto_encoder(
            part,
            width=common.width,
            layers=getattr(config.train_vq, part).layers,
            codebook_size=common.codebook_size,
            rules=rules,
        )
        auto_encoders[part] = cast(VQVAE, network).to(device)
    frames = config.train_generator.context_frames
    module = PublishedStep(_generator(config, rules), auto_encoders, frames).to(device).train()
    return _steps(module, replace(optim_settings(config.train_generator, rules), fused=False))


def _our_steps(
    config: Config, device: torch.device, *, captured: bool = False, shared: bool = False
) -> Steps:
    settings = config.train_generator
    rules = FidelityRules.of("corrected")
    size = config.train_vq.common.codebook_size
    frames = settings.batch_size * settings.window
    width = config.train_vq.common.width
    module = GeneratorTraining(
        _generator(config, rules),
        {part: torch.randint(size, (frames,), device=device) for part in PARTS},
        {part: torch.randn(size, width, device=device) for part in PARTS},
        settings,
        rules,
    )
    module.to(device).train()
    return _steps(module, optim_settings(settings, rules), captured=captured, shared=shared)


def _generator(config: Config, rules: FidelityRules) -> Generator:
    torch.manual_seed(config.seed)
    settings = config.train_generator
    if rules == PUBLISHED:
        # Published training has no others.
        settings = replace(settings, speaker="added", target="codes", streaming=False)
    return build_generator(
        settings,
        vocabulary_size=VOCABULARY,
        speakers=SPEAKERS,
        codebook_size=config.train_vq.common.codebook_size,
        code_dim=config.train_vq.common.width,
        rules=rules,
    )


def _steps(
    module: TrainingModule, optim: OptimSettings, *, captured: bool = False, shared: bool = False
) -> Steps:
    kind = CapturedSteps if captured else EagerSteps
    optimizer = build_optimizer(module, optim)
    return kind(module, optimizer, optim.clip_norm, _ignore, shared=shared)


def _ignore(number: int, loss: float) -> None:
    """Accept any loss: windows and targets are random numbers."""


def _now(device: torch.device) -> float:
    """Return the time when all work of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _allocated(device: torch.device) -> int:
    """Return the allocated bytes of a GPU, and begin to look for the peak."""
    if device.type == "cpu":
        return 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _peak(device: torch.device) -> int:
    return 0 if device.type == "cpu" else torch.cuda.max_memory_allocated(device)
