"""Publish a trained network: weights, curve and metrics as DVC outputs, and all of it in MLflow."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mambatalk.files import atomic_directory, write_json
from tasks.runtime.context import StageContext, is_assistant
from tasks.runtime.training_warnings import training_warnings, warn
from tasks.tracking.recorder import LogModel

if TYPE_CHECKING:
    from mambatalk.training.loop.train import Trained

HEADLINE: Final = (
    "loss",
    "selected_epoch",
    "codes_used",
    "perplexity",
    "kmeans_perplexity",
    "true_perplexity",
    "range_ratio",
    "drift_ratio",
)
"""Metrics of a training that DVC shows, also of a part ("face/perplexity"). The curve and MLflow
hold all of them."""


def publish_training(
    context: StageContext,
    trained: "Trained[Any]",
    *,
    folder: Path,
    save: Callable[[Path], None],
    model: LogModel,
) -> None:
    """Write the outputs of a training stage and record them.

    Curve and metrics go to `plots/NAME.csv` and `metrics/NAME.json`, with NAME the name of the
    stage, "train_vq/face" for train_vq@face. Warnings go to the log and to MLflow. Of several
    processes of a training only the first one does this.

    Args:
        context: Context of the stage.
        trained: The network with its curve and final metrics.
        folder: Output folder of the weights.
        save: Writes the weights to a folder.
        model: Logs the written weights as an MLflow model of the active run.

    """
    if is_assistant():
        return
    name = context.stage.replace("@", "/")
    curve = context.paths.plots / f"{name}.csv"

    with atomic_directory(folder) as out:
        save(out)
    trained.curve.write(curve)
    write_json(context.paths.metrics / f"{name}.json", headline(trained.metrics))

    context.recorder.metrics({"final": trained.metrics})
    warn(context.stage, training_warnings(trained.metrics), context.recorder)
    context.recorder.artifact(curve)
    context.recorder.model(model)


def headline(metrics: Mapping[str, float]) -> dict[str, float]:
    """Select the metrics that DVC shows."""
    return {key: value for key, value in metrics.items() if key.split("/")[-1] in HEADLINE}
