"""The state of a training: what it holds, and that a resumed training gives the same bits."""

import logging
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from mambatalk.errors import InputError
from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import CORRECTED
from mambatalk.files import sha256_file
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.motion.skeleton import Part
from mambatalk.training.context import TrainContext
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.module import LossTerms, Step, TrainingModule
from mambatalk.training.loop.optim import OptimSettings
from mambatalk.training.loop.state import TrainState, rng_state, set_rng_state
from mambatalk.training.loop.train import Trained, train
from tests.helpers.tiny_training import CPU, same_weights, train_fgd, train_gen, train_vq

Networks = dict[Part, VQVAE]
Training = Callable[[FeatureStore, Networks, TrainContext], Trained[Any]]

TRAININGS: dict[str, Training] = {
    # With a decay of the learning rate, and frames of the mesh terms drawn at random.
    "hands": lambda store, networks, context: train_vq(
        "hands", store, epochs=5, decay_epoch=2, batch_size=4, context=context
    ),
    "global": lambda store, networks, context: train_vq("global", store, epochs=4, context=context),
    "fgd": lambda store, networks, context: train_fgd(store, epochs=4, context=context),
    "generator": lambda store, networks, context: train_gen(
        store, networks, epochs=3, context=context
    ),
}


class Interruption(Exception):
    """What stops a training in these tests."""


class Tracker:
    """Record everything; stop the training before it records a given epoch."""

    def __init__(self, *, stop: int | None = None) -> None:
        self.recorded: list[tuple[int, dict[str, float]]] = []
        self.stop = stop

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        if "train/loss" not in values:
            return
        if step == self.stop:
            raise Interruption
        self.recorded.append((step, dict(values)))


def context(scratch: Path | None, tracker: Tracker | None = None, **changes: Any) -> TrainContext:
    return TrainContext(
        device=CPU, scratch=scratch, tracker=tracker or Tracker(), **{"save_seconds": 0, **changes}
    )


@contextmanager
def stop_signals_after(steps: int) -> Iterator[None]:
    """Raise SIGTERM during the optimizer's step of that number, with a handler that raises."""
    made = 0

    def count(*_: object) -> None:
        nonlocal made
        made += 1
        if made == steps:
            signal.raise_signal(signal.SIGTERM)

    def handler(number: int, frame: object) -> None:
        raise Interruption

    before = signal.signal(signal.SIGTERM, handler)
    hook = register_optimizer_step_post_hook(count)
    try:
        yield
    finally:
        hook.remove()
        signal.signal(signal.SIGTERM, before)


def newest(scratch: Path) -> Path:
    return max(scratch.glob("state-*.pt"))


def interrupt(
    training: Training, store: FeatureStore, networks: Networks, scratch: Path, *, epoch: int
) -> None:
    """Stop a training at the end of an epoch, after the state of its last step was written."""
    with pytest.raises(Interruption):
        training(store, networks, context(scratch, Tracker(stop=epoch)))


@pytest.mark.parametrize(
    ("name", "stops"),
    [("hands", (2,)), ("hands", (1, 3)), ("global", (2,)), ("fgd", (2,)), ("generator", (1,))],
)
def test_resumed_training_gives_the_same_bits(
    name: str, stops: tuple[int, ...], store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    training = TRAININGS[name]
    whole = training(store, networks, context(None))
    for epoch in stops:
        interrupt(training, store, networks, tmp_path, epoch=epoch)
        # Random numbers drawn in between by other code have no influence.
        torch.rand(7), np.random.rand(7), random.random()
    resumed = training(store, networks, context(tmp_path))
    assert same_weights(whole.network, resumed.network)
    assert whole.curve.rows == resumed.curve.rows
    assert whole.metrics == resumed.metrics


def test_revival_counters_are_resumed(
    store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    """Codes die after 22 steps without use: the count must continue after an interruption."""

    def training(store: FeatureStore, networks: Networks, context: TrainContext) -> Trained[Any]:
        return train_vq("hands", store, epochs=26, codebook_size=64, context=context)

    unrevived = train_vq("hands", store, epochs=26, codebook_size=64, dead_code_share=0.0)
    whole = training(store, networks, context(None))
    interrupt(training, store, networks, tmp_path, epoch=20)
    resumed = training(store, networks, context(tmp_path))
    assert same_weights(whole.network, resumed.network)
    assert not same_weights(whole.network, unrevived.network)


def test_only_a_resumed_training_says_that_it_continues(
    store: FeatureStore, networks: Networks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        with pytest.raises(Interruption):
            TRAININGS["fgd"](store, networks, context(tmp_path, Tracker(stop=3)))
        assert not [line for line in caplog.messages if "continuing" in line]
        TRAININGS["fgd"](store, networks, context(tmp_path))
    (line,) = [line for line in caplog.messages if "continuing" in line]
    assert line == "train_fgd_encoder: continuing after 2 of 4 epochs and 1 steps"


def test_finished_training_is_not_repeated(
    store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    first = TRAININGS["fgd"](store, networks, context(tmp_path))
    tracker = Tracker()
    again = TRAININGS["fgd"](store, networks, context(tmp_path, tracker))
    assert same_weights(first.network, again.network)
    assert first.curve.rows == again.curve.rows
    assert first.metrics == again.metrics
    assert not again.network.training


def test_a_resumed_training_records_its_whole_curve(
    store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    """The tracker leaves out what its run has; see `tasks.tracking.recorder`."""
    interrupt(TRAININGS["fgd"], store, networks, tmp_path, epoch=2)
    tracker = Tracker()
    resumed = TRAININGS["fgd"](store, networks, context(tmp_path, tracker))
    rows = [{"epoch": step, **values} for step, values in tracker.recorded]
    assert rows == resumed.curve.rows
    assert len(rows) == 4


def test_state_is_written_after_the_last_epoch_at_any_interval(
    store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    # Longer than the machine runs: the interval counts from the last write, not from the start.
    seconds = time.monotonic() + 60
    with pytest.raises(Interruption):
        TRAININGS["fgd"](store, networks, context(tmp_path, Tracker(stop=3), save_seconds=seconds))
    assert not list(tmp_path.iterdir())
    TRAININGS["fgd"](store, networks, context(tmp_path, save_seconds=seconds))
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("state-000004-00000000-")


def test_state_holds_all_that_resuming_needs_and_no_code(
    store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    trained = TRAININGS["hands"](store, networks, context(tmp_path, Tracker()))
    state = torch.load(newest(tmp_path), weights_only=True)
    assert state["epoch"] == 5
    assert state["curve"] == trained.curve.rows
    (random_states,) = state["random"]
    assert set(random_states) == {"python", "numpy", "torch", "cuda"}
    assert "revivals.0.shares" in state["module"]
    losses = [row["val/loss"] for row in trained.curve.rows]
    assert state["best"]["loss"] == min(losses)
    assert state["best"]["epoch"] == losses.index(min(losses))
    assert state["best"]["weights"].keys() == state["module"].keys()


def test_best_weights_are_those_of_their_epoch(
    store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    class Signalling(Tracker):
        def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
            super().metrics(values, step)
            signal.raise_signal(signal.SIGTERM)

    # The signal comes with the metrics of the first epoch, and the state is written after it.
    with stop_signals_after(100), pytest.raises(Interruption):
        TRAININGS["fgd"](store, networks, context(tmp_path, Signalling()))
    first = torch.load(newest(tmp_path), weights_only=True)
    assert first["best"]["epoch"] == 0
    for key, value in first["module"].items():
        assert torch.equal(first["best"]["weights"][key], value)
    TRAININGS["fgd"](store, networks, context(tmp_path))
    last = torch.load(newest(tmp_path), weights_only=True)
    assert last["best"]["epoch"] > 0
    assert any(
        not torch.equal(last["best"]["weights"][key], value)
        for key, value in first["module"].items()
    )


@pytest.mark.parametrize("stop", [None, 2], ids=["whole", "interrupted"])
@pytest.mark.parametrize(
    ("settings", "weight", "selected", "epochs"),
    [
        ({"select": "best"}, -0.2, 2, 5),
        ({"select": "last"}, -0.5, 5, 5),
        ({"select": "best", "patience": 2}, -0.2, 2, 4),
        ({"select": "last", "patience": 2}, -0.4, 4, 4),
        ({"select": "last", "patience": 4}, -0.5, 5, 5),
    ],
    ids=str,
)
def test_the_selected_epoch_is_kept_and_patience_ends_a_training(
    store: FeatureStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    stop: int | None,
    settings: dict[str, Any],
    weight: float,
    selected: int,
    epochs: int,
) -> None:
    """Also when the training was interrupted after the best epoch, and when it had finished."""
    losses = [1.0, 0.5, 0.9, 0.8, 0.7]

    class Scripted(TrainingModule):
        """A module with a given loss for each epoch, and one weight that falls by 0.1 a step."""

        selected_by = ("fair",)

        def __init__(self) -> None:
            super().__init__("net")
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, batch: WindowBatch, step: Step) -> LossTerms:
            falling = self.weight.sum() - self.weight.detach().sum()
            # The second term grows harder over the epochs, and selects nothing.
            return {"fair": falling + losses[step.epoch], "harder": falling + 10 * step.epoch}

    def training(module: Scripted, tracker: Tracker) -> TrainState:
        # Two windows, so that there is one step in an epoch.
        data = TrainingData.from_store(
            store, length=64, stride=64, audio=False, rules=CORRECTED, batch_size=2, seed=0
        )
        optim = OptimSettings(epochs=len(losses), lr=0.1, betas=(0.5, 0.999), **settings)
        return train(module, data, optim, context(tmp_path, tracker))

    if stop is not None:
        with pytest.raises(Interruption):
            training(Scripted(), Tracker(stop=stop))
    for _ in ("trained", "had finished"):
        module = Scripted()
        with caplog.at_level("INFO", logger="mambatalk.training.loop.train"):
            state = training(module, Tracker())
        assert module.weight.item() == pytest.approx(weight, rel=1e-3)
        assert (state.selected_epoch, state.epoch) == (selected, epochs)
        trained = Trained.of(module, state)
        assert trained.metrics["selected_epoch"] == selected
        assert trained.metrics["fair"] == pytest.approx(losses[selected - 1])
        line = f"net: keeping the weights of epoch {selected} of {epochs}, validation loss "
        assert line in caplog.messages[-1]
        early = f"ended after {settings.get('patience')} epochs without a lower one"
        assert (early in caplog.messages[-1]) == (epochs < len(losses))
    best = state.best
    assert best is not None
    assert (best.epoch, best.loss) == (1, 0.5)
    assert best.weights["weight"].item() == pytest.approx(-0.2, rel=1e-3)


def test_checkpoint_that_would_run_code_is_refused(
    store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (tmp_path / "executed",)

    path = tmp_path / "attack"
    torch.save({"identity": Attack()}, path)
    path.rename(tmp_path / f"state-000001-00000000-{sha256_file(path)}.pt")
    with pytest.raises(InputError, match=r"state-.*\.pt: expected a checkpoint"):
        TRAININGS["fgd"](store, networks, context(tmp_path))
    assert not (tmp_path / "executed").exists()


def test_state_of_another_training_is_refused(
    store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    TRAININGS["fgd"](store, networks, context(tmp_path))
    with pytest.raises(InputError, match=r"state-.*: expected the state of .*'epochs': 5"):
        train_fgd(store, epochs=5, context=context(tmp_path))


def test_state_of_a_network_of_another_size_is_refused(
    store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    TRAININGS["fgd"](store, networks, context(tmp_path))
    with pytest.raises(InputError, match=r"state-.*: expected the state of this network"):
        train_fgd(store, epochs=4, latent=40, context=context(tmp_path))


@pytest.mark.parametrize("steps", [1, 5, 7, 9])
def test_training_stopped_by_a_signal_within_an_epoch_gives_the_same_bits(
    steps: int, store: FeatureStore, networks: Networks, tmp_path: Path
) -> None:
    """Two signals in a row: the second training is stopped one step after it has resumed."""

    def training(context: TrainContext) -> Trained[Any]:
        # Three steps in each of four epochs.
        return train_vq("hands", store, epochs=4, batch_size=2, context=context)

    whole = training(context(None))
    for count, made in ((steps, steps), (1, steps + 1)):
        with stop_signals_after(count), pytest.raises(Interruption):
            training(context(tmp_path, save_seconds=3600))
        state = torch.load(newest(tmp_path), weights_only=True)
        assert 3 * state["epoch"] + state["number"] == made
    resumed = training(context(tmp_path))
    assert same_weights(whole.network, resumed.network)
    assert whole.curve.rows == resumed.curve.rows


def test_all_random_number_generators_are_restored() -> None:
    def draw() -> tuple[float, float, float, float]:
        return random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(()).item()

    random.seed(1)
    # An odd number of normal draws leaves a second one cached.
    random.gauss(0, 1), np.random.randn()
    state = rng_state()
    first = draw()
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    assert draw() != first
    set_rng_state(state)
    assert draw() == first
