"""The training loop: order of operations, schedule, clipping, validation, non-finite losses."""

import io
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mambatalk.features.store import FeatureStore
from mambatalk.features.windows import WindowBatch
from mambatalk.training.context import TrainContext
from mambatalk.training.loop.data import TrainingData
from mambatalk.training.loop.module import LossTerms, Step, TrainingModule
from mambatalk.training.loop.optim import OptimSettings
from mambatalk.training.loop.train import train, validate
from tests.helpers.tiny_training import CONTEXT, CPU, train_vq

Terms = Callable[["OneWeight", WindowBatch, Step], Tensor]


class OneWeight(TrainingModule):
    """A module with one weight (or as many as given) and a loss given by a function."""

    def __init__(self, terms: Terms, weight: Tensor | None = None) -> None:
        super().__init__("net")
        self.weight = nn.Parameter(torch.zeros(1) if weight is None else weight)
        self.terms = terms
        self.hook: Callable[[Step], None] = lambda step: None

    def forward(self, batch: WindowBatch, step: Step) -> LossTerms:
        return {"only": self.terms(self, batch, step)}

    def after_backward(self, step: Step) -> None:
        self.hook(step)


def data(store: FeatureStore, **changes: Any) -> TrainingData:
    rows = np.array([[0, 0], [0, 20], [0, 40]])
    settings = {
        "store": store,
        "train": rows,
        "validation": rows[:1],
        "length": 64,
        "audio": False,
        "batch_size": 2,
        "seed": 0,
    }
    return TrainingData(**(settings | changes))


def optim(**changes: Any) -> OptimSettings:
    settings: dict[str, Any] = {"epochs": 1, "lr": 0.1, "betas": (0.5, 0.999)}
    return OptimSettings(**(settings | changes))


def falling(module: OneWeight, batch: WindowBatch, step: Step) -> Tensor:
    """A loss whose gradient is always 1, so that Adam's steps are the learning rate."""
    return module.weight.sum()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_loss_stops_before_the_optimizer_step(store: FeatureStore, bad: float) -> None:
    def terms(module: OneWeight, batch: WindowBatch, step: Step) -> Tensor:
        return module.weight.sum() + (bad if (step.epoch, step.number) == (1, 0) else 0)

    module = OneWeight(terms)
    weights: list[float] = []
    module.hook = lambda step: weights.append(module.weight.item())
    name = "the loss or its gradient" if np.isnan(bad) else "the loss"
    message = rf"^net: {name} is {bad} in step 1 of epoch 2"
    with pytest.raises(FloatingPointError, match=message):
        train(module, data(store), optim(epochs=3), CONTEXT)
    assert weights == [0.0]
    assert module.weight.item() == pytest.approx(-0.1, rel=1e-4)


def test_a_gradient_that_is_not_finite_stops_before_the_optimizer_step(store: FeatureStore) -> None:
    # The slope of a square root at 0 is infinite.
    module = OneWeight(lambda module, batch, step: module.weight.sqrt().sum())
    with pytest.raises(FloatingPointError, match="the loss or its gradient is nan in step 1"):
        train(module, data(store), optim(), CONTEXT)
    assert module.weight.item() == 0


def test_non_finite_loss_message_names_the_clips_and_a_remedy(store: FeatureStore) -> None:
    module = OneWeight(lambda module, batch, step: module.weight.sum() * float("nan"))
    clip = store.clips[0].clip_id
    message = rf"\(clips {clip}\); lower the learning rate, or check the data-quality report"
    with pytest.raises(FloatingPointError, match=message):
        train(module, data(store), optim(), CONTEXT)


def test_a_learning_rate_that_diverges_to_a_finite_loss_ends_the_training(
    store: FeatureStore,
) -> None:
    with pytest.raises(
        FloatingPointError, match=r"the loss is .*e\+\d+ in step .*, after .* first"
    ):
        train_vq("hands", store, epochs=4, lr=10.0, batch_size=2)


def test_too_little_gpu_memory_is_reported_with_what_is_missing_and_a_remedy(
    store: FeatureStore,
) -> None:
    def terms(module: OneWeight, batch: WindowBatch, step: Step) -> Tensor:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of "
            "79.10 GiB of which 1.20 GiB is free. Including non-PyTorch memory, this process has "
            "77.00 GiB memory in use. Of the allocated memory 70 GiB is allocated by PyTorch."
        )

    message = (
        r"^net: the GPU has too little memory, at least 1331 MiB are missing \(Tried to allocate "
        r"2\.50 GiB\. GPU 0 has a total capacity of 79\.10 GiB of which 1\.20 GiB is free\); lower "
        r"batch_size \(2\) or use"
    )
    with pytest.raises(MemoryError, match=message):
        train(OneWeight(terms), data(store), optim(), CONTEXT)


def test_a_batch_is_the_same_from_any_start_of_the_epoch(store: FeatureStore) -> None:
    """And its clips are those of its windows."""
    rows = np.array([[clip, 0] for clip in (0, 1, 2, 0, 1, 2)])
    windows = data(store, train=rows, batch_size=2)
    for epoch in (0, 3):
        whole = [batch.frames.tolist() for batch in windows.training_batches(epoch, CPU)]
        rest = [batch.frames.tolist() for batch in windows.training_batches(epoch, CPU, first=1)]
        assert rest == whole[1:]
        first_frames = {clip.clip_id: clip.first_frame for clip in store.clips}
        for number, frames in enumerate(whole):
            clips = windows.clip_ids(epoch, number)
            assert sorted({first_frames[clip] for clip in clips}) == sorted(set(frames))


def test_weights_spoiled_by_the_last_step_are_found_in_validation(store: FeatureStore) -> None:
    recorded: list[int] = []

    class Tracker:
        def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
            recorded.append(step)

    module = OneWeight(
        lambda module, batch, step: module.weight.sum() * (1 if module.training else float("nan"))
    )
    with pytest.raises(FloatingPointError, match="nan in validation of epoch 1"):
        train(module, data(store), optim(), TrainContext(device=CPU, tracker=Tracker()))
    assert recorded == []


def test_incomplete_batch_is_dropped_unless_it_is_the_only_one(store: FeatureStore) -> None:
    sizes: list[int] = []

    def terms(module: OneWeight, batch: WindowBatch, step: Step) -> Tensor:
        if module.training:
            sizes.append(len(batch.motion))
        return module.weight.sum()

    for batch_size in (2, 5):
        train(OneWeight(terms), data(store, batch_size=batch_size), optim(epochs=2), CONTEXT)
    assert sizes == [2, 2, 3, 3]


def test_a_batch_larger_than_the_data_is_named_in_the_log(
    store: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    windows = len(data(store).train)
    with caplog.at_level("WARNING", logger="mambatalk.training.loop.train"):
        train(OneWeight(falling), data(store, batch_size=windows), optim(), CONTEXT)
        assert not caplog.records
        train(OneWeight(falling), data(store, batch_size=windows + 1), optim(), CONTEXT)
    (record,) = caplog.records
    assert f"batch_size is {windows + 1}, but there are only {windows}" in record.getMessage()


def test_steps_count_epochs_and_batches(store: FeatureStore) -> None:
    steps: list[Step] = []
    module = OneWeight(falling)
    module.hook = steps.append
    train(module, data(store, batch_size=1), optim(epochs=2), CONTEXT)
    assert [tuple(step) for step in steps] == [
        (epoch, 2, number) for epoch in range(2) for number in range(3)
    ]


def test_every_epoch_has_all_windows_in_another_order(store: FeatureStore) -> None:
    orders: list[int] = []

    def terms(module: OneWeight, batch: WindowBatch, step: Step) -> Tensor:
        if module.training:
            orders.extend(batch.frames.tolist())
        return module.weight.sum()

    train(OneWeight(terms), data(store, batch_size=1), optim(epochs=4), CONTEXT)
    epochs = [tuple(orders[k : k + 3]) for k in range(0, 12, 3)]
    assert all(sorted(epoch) == [0, 20, 40] for epoch in epochs)
    assert len(set(epochs)) > 1


def test_learning_rate_decays_at_the_decay_epoch_by_the_given_factor(store: FeatureStore) -> None:
    module = OneWeight(falling)
    weights: list[float] = []
    module.hook = lambda step: weights.append(module.weight.item())
    settings = optim(epochs=4, decay_epoch=2, lr_decay=0.25)
    train(module, data(store, batch_size=3), settings, CONTEXT)
    weights.append(module.weight.item())
    assert -np.diff(weights) == pytest.approx([0.1, 0.1, 0.025, 0.025], rel=1e-4)


def test_learning_rate_is_constant_without_a_decay_epoch(store: FeatureStore) -> None:
    module = OneWeight(falling)
    train(module, data(store, batch_size=3), optim(epochs=5, lr_decay=0.25), CONTEXT)
    assert module.weight.item() == pytest.approx(-0.5, rel=1e-4)


@pytest.mark.parametrize(("clip_norm", "expected"), [(0.5, 0.5), (50.0, 5.0), (None, 5.0)])
def test_gradients_of_all_parameters_are_clipped_to_one_norm(
    store: FeatureStore, clip_norm: float | None, expected: float
) -> None:
    """Adam hides the scale of a gradient, so the test reads the optimizer's first moment."""
    slope = torch.tensor([3.0, 4.0])
    module = OneWeight(lambda module, batch, step: (module.weight * slope).sum(), torch.zeros(2))
    settings = optim(clip_norm=clip_norm, betas=(0.5, 0.999))
    state = train(module, data(store, batch_size=3), settings, CONTEXT)
    moment = state.optimizer.state[module.weight]["exp_avg"]
    torch.testing.assert_close(moment / (1 - 0.5), expected * slope / 5, rtol=1e-4, atol=0)


def test_health_goes_to_the_tracker_and_not_to_the_curve(store: FeatureStore) -> None:
    """The curve is an output of the pipeline, which is the same on every run."""
    recorded: dict[str, list[float]] = {}

    class Tracker:
        def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
            for key, value in values.items():
                recorded.setdefault(key, []).append(value)

    slope = torch.tensor([3.0, 4.0])
    for clip_norm in (None, 0.5):
        recorded.clear()
        module = OneWeight(
            lambda module, batch, step: (module.weight * slope).sum() * (1 + step.number),
            torch.zeros(2),
        )
        settings = optim(epochs=2, decay_epoch=1, lr_decay=0.1, clip_norm=clip_norm)
        context = TrainContext(device=CPU, tracker=Tracker())
        state = train(module, data(store, batch_size=1), settings, context)
        # The mean over three steps with norms 5, 10 and 15, before clipping.
        assert recorded["health/gradient_norm"] == pytest.approx([10, 10])
        assert recorded["health/learning_rate"] == pytest.approx([0.1, 0.01])
        assert min(recorded["health/windows_per_second"]) > 0
        assert 50 < recorded["health/memory_mib"][0] < 1e6
        assert not [key for key in state.curve.rows[0] if key.startswith("health")]


def test_gradients_do_not_add_up_over_steps(store: FeatureStore) -> None:
    gradients: list[float] = []
    module = OneWeight(falling)

    def note(step: Step) -> None:
        assert module.weight.grad is not None
        gradients.append(module.weight.grad.item())

    module.hook = note
    train(module, data(store, batch_size=1), optim(epochs=2), CONTEXT)
    assert gradients == [1.0] * 6


def test_after_backward_runs_in_training_before_the_update(store: FeatureStore) -> None:
    """Weights that it sets are what the optimizer's update is applied to."""
    module = OneWeight(falling)

    def reset(step: Step) -> None:
        assert module.training
        assert module.weight.grad is not None
        module.weight.data.fill_(7.0)

    module.hook = reset
    train(module, data(store), optim(epochs=3), CONTEXT)
    assert module.weight.item() == pytest.approx(6.9, rel=1e-4)


def test_module_trains_in_training_mode_and_ends_in_evaluation_mode(store: FeatureStore) -> None:
    modes: list[bool] = []

    def terms(module: OneWeight, batch: WindowBatch, step: Step) -> Tensor:
        modes.append(module.training)
        return module.weight.sum()

    module = OneWeight(terms)
    train(module, data(store), optim(epochs=2), CONTEXT)
    assert modes == [True, False, True, False]
    assert not module.training


def test_validation_draws_are_repeated_and_do_not_disturb_training(store: FeatureStore) -> None:
    module = OneWeight(lambda module, batch, step: torch.rand(()) + batch.motion.mean())
    torch.manual_seed(5)
    first = validate(module, data(store), Step(0, 2, 0), CONTEXT)
    following = torch.rand(3)
    second = validate(module, data(store), Step(1, 2, 0), CONTEXT)
    torch.manual_seed(5)
    assert first == second
    assert torch.equal(following, torch.rand(3))


def test_validation_has_no_gradients(store: FeatureStore) -> None:
    enabled: list[bool] = []

    def terms(module: OneWeight, batch: WindowBatch, step: Step) -> Tensor:
        enabled.append(torch.is_grad_enabled())
        return module.weight.sum()

    validate(OneWeight(terms), data(store), Step(0, 1, 0), CONTEXT)
    assert enabled == [False]


def test_means_are_weighted_by_windows_not_batches(store: FeatureStore) -> None:
    values = iter([1.0, 4.0])
    rows = np.array([[0, 0], [0, 20], [0, 40]])
    module = OneWeight(lambda module, batch, step: torch.tensor(next(values)))
    row = validate(module, data(store, validation=rows), Step(0, 1, 0), CONTEXT)
    assert row == {"val/loss": pytest.approx(2.0), "val/only": pytest.approx(2.0)}


def test_all_terms_are_minimised_and_reported(store: FeatureStore) -> None:
    class TwoTerms(OneWeight):
        def forward(self, batch: WindowBatch, step: Step) -> LossTerms:
            return {"a": 3 * self.weight.sum() + 1, "b": self.weight.sum() + 2}

    module = TwoTerms(falling)
    state = train(module, data(store, batch_size=3), optim(), CONTEXT)
    row = state.curve.rows[0]
    assert (row["train/a"], row["train/b"], row["train/loss"]) == (1, 2, 3)
    moment = state.optimizer.state[module.weight]["exp_avg"]
    assert moment.item() == pytest.approx(0.5 * (3 + 1))
    assert row["val/loss"] == pytest.approx(row["val/a"] + row["val/b"])


def test_random_draws_of_training_follow_the_seed_of_the_data_alone(store: FeatureStore) -> None:
    """Earlier random draws, such as the initial weights, have no influence."""

    def losses(seed: int, *, before: int) -> list[float]:
        torch.manual_seed(before)
        module = OneWeight(lambda module, batch, step: module.weight.sum() + torch.rand(()))
        rows = train(module, data(store, seed=seed), optim(epochs=2), CONTEXT).curve.rows
        return [row["train/loss"] for row in rows]

    assert losses(0, before=1) == losses(0, before=2)
    assert losses(0, before=1) != losses(3, before=1)


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_names_the_network_and_both_losses(
    store: FeatureStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    terminal: bool,
) -> None:
    """A bar on a terminal; about ten lines elsewhere, so that a log stays readable."""
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    module = OneWeight(lambda module, batch, step: module.weight.sum() + 5)
    with caplog.at_level(logging.INFO):
        train(module, data(store, batch_size=3), optim(epochs=25, lr=0), CONTEXT)

    lines = [line for line in caplog.messages if line.startswith("net: epoch")]
    if terminal:
        assert lines == []
        assert "net  5.0000 / 5.0000" in screen.getvalue()
        assert "25/25" in screen.getvalue()
    else:
        assert lines[0] == "net: epoch 2 of 25, loss 5.0000, validation 5.0000"
        assert [line.split()[2] for line in lines] == [*map(str, range(2, 26, 2)), "25"]
        assert screen.getvalue() == ""
