"""The report's tables: this build, the published one, the clips, and the codebooks."""

import csv
from pathlib import Path
from typing import Any, Final

from mambatalk.files import read_json
from mambatalk.metrics.catalogue import (
    CATALOGUE,
    EVENT_F1,
    EVENTS,
    KID,
    METRICS,
    MISSING,
    MOTION,
    RATIOS,
    metric_value,
    ratio_to_truth,
)
from mambatalk.motion.skeleton import AUTO_ENCODERS, FPS, PARTS
from tasks.runtime.training_warnings import evaluation_warnings, training_warnings

TABLE_1: Final = Path(__file__).with_name("table1.csv")
TABLE_1_KEYS: Final = ("fgd", "bc", "l1div", "mse", "lvd")
VARIANTS: Final = ("corrected", "published")
ROWS: Final = {
    "ground_truth": "ground truth",
    "model": "model",
    "shuffled_audio": "model, audio of another clip",
    "random_clip": "random training clip",
    "mean_pose": "mean pose",
}


def metrics_table(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row per method, with a cell for each of `columns`."""
    rows = []
    for row, name in ROWS.items():
        cells = [
            CATALOGUE[key].format(metric_value(evaluation, row, key, variant))
            for key, variant in columns(evaluation)
        ]
        rows.append({"key": row, "name": name, "cells": cells})
    return rows


def columns(evaluation: dict[str, Any]) -> list[tuple[str, str]]:
    """Return metric and variant of each column of the table of field metrics.

    The scores of events are among them only if the corpus has written events.
    """
    keys = [(key, variant) for key in METRICS for variant in VARIANTS]
    keys.append((KID.key, "corrected"))
    if metric_value(evaluation, "model", EVENT_F1.key) is not None:
        keys += [(key, "corrected") for key in EVENTS]
    return keys


def motion_table(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row per metric of motion and ground contact, with a cell for each of `ROWS`.

    Range, speed and jerk have the model's ratio to ground truth beside them.
    """
    rows = []
    for key, metric in MOTION.items():
        values = [metric_value(evaluation, row, key) for row in ROWS]
        ratio = ratio_to_truth(evaluation, "model", key) if key.startswith(RATIOS) else None
        rows.append(
            {
                "metric": metric,
                "cells": [metric.format(value) for value in values],
                "ratio": MISSING if ratio is None else f"{ratio:.2f}",
            }
        )
    return rows


def strips(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the data of one strip chart per corrected metric.

    Positions of rows are in percent between the smallest and the largest value.
    """
    result = []
    for key, variant in columns(evaluation):
        values = {row: metric_value(evaluation, row, key, variant) for row in ROWS}
        defined = {row: value for row, value in values.items() if value is not None}
        if variant != "corrected" or not defined:
            continue
        low = min(defined.values())
        span = max(defined.values()) - low or 1
        positions = {row: 100 * (value - low) / span for row, value in defined.items()}
        rows = [
            {
                "key": row,
                "name": ROWS[row],
                "position": positions.get(row),
                "text": CATALOGUE[key].format(values[row]),
            }
            for row in ROWS
        ]
        truth = positions.get("ground_truth")
        result.append({"metric": CATALOGUE[key], "rows": rows, "truth": truth})
    return result


def published_row(evaluation: dict[str, Any]) -> dict[str, str]:
    """Return the model's published metrics, the first row above the paper's table."""
    return {
        key: CATALOGUE[key].format(metric_value(evaluation, "model", key, "published"))
        for key in TABLE_1_KEYS
    }


def published_table() -> list[dict[str, str]]:
    """Return the rows of the paper's Table 1 as later papers quote them, in printed units."""
    with TABLE_1.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def clip_table(path: Path) -> list[dict[str, Any]]:
    """Return a row per clip: the model's metrics, and the ground truth's where they are compared.

    Args:
        path: The table `metrics/per_clip.csv`.

    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = {(row["clip"], row["row"]): row for row in csv.DictReader(file)}

    def cell(clip: str, row: str, column: str) -> str:
        text = rows[clip, row].get(column) or ""
        metric = CATALOGUE[column.removesuffix("_corrected")]
        return metric.format(float(text) if text else None)

    result = []
    for clip in dict.fromkeys(clip for clip, _ in rows):
        cells = []
        for column in ("bc_corrected", "l1div_corrected"):
            cells += [cell(clip, "model", column), cell(clip, "ground_truth", column)]
        for column in ("mse_corrected", "lvd_corrected", "srgr_corrected", *EVENTS):
            cells.append(cell(clip, "model", column))
        seconds = int(rows[clip, "model"]["frames"]) / FPS
        result.append({"clip": clip, "seconds": seconds, "cells": cells})
    return result


def codebooks(folder: Path) -> list[dict[str, Any]]:
    """Return what each auto-encoder with a codebook measured at the end of its training.

    Args:
        folder: The folder `metrics`.

    """
    generator = read_json(folder / "train_generator.json")
    rows = []
    for part in PARTS:
        measures = read_json(folder / f"train_vq/{part}.json")
        generated = {
            f"generated_{name}": generator.get(f"{part}/{name}")
            for name in ("perplexity", "true_perplexity")
        }
        rows.append({"part": part, **measures, **generated})
    return rows


def training_warnings_by_stage(folder: Path, evaluation: dict[str, Any]) -> list[str]:
    """Return the warnings of all trainings and of the evaluation, each with its stage.

    Args:
        folder: The folder `metrics`.
        evaluation: Content of `metrics/metrics.json`.

    """
    stages = [*(f"train_vq/{part}" for part in AUTO_ENCODERS), "train_generator"]
    warnings = [
        f"{stage.replace('/', '@')}: {text}"
        for stage in stages
        for text in training_warnings(read_json(folder / f"{stage}.json"))
    ]
    return warnings + [f"evaluate: {text}" for text in evaluation_warnings(evaluation)]
