"""The report's numbers: our rows and the published ones in the units papers print, clip by clip,
code books.
"""

import csv
from pathlib import Path
from typing import Any, Final

from mambatalk.files import read_json
from mambatalk.metrics.catalogue import CATALOGUE, EVENT_F1, METRICS, metric_value

TABLE_1: Final = Path(__file__).with_name("table1.csv")
TABLE_1_KEYS: Final = ("fgd", "bc", "l1div", "mse", "lvd")
VARIANTS: Final = ("corrected", "published")
ROWS: Final = {
    "ground_truth": "ground truth",
    "model": "model",
    "shuffled_audio": "model, sound of another clip",
    "random_clip": "random training clip",
    "mean_pose": "mean pose",
}


def metrics_table(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per method, each with a cell per metric and variant."""
    return [
        {
            "key": row,
            "name": name,
            "cells": [
                CATALOGUE[key].format(metric_value(evaluation, row, key, variant))
                for key, variant in columns(evaluation)
            ],
        }
        for row, name in ROWS.items()
    ]


def columns(evaluation: dict[str, Any]) -> list[tuple[str, str]]:
    """Metric and variant of each cell; event F1 only where the corpus has written events."""
    keys = [(key, variant) for key in METRICS for variant in VARIANTS]
    if metric_value(evaluation, "model", EVENT_F1.key) is not None:
        keys.append((EVENT_F1.key, "corrected"))
    return keys


def strips(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """For each metric the rows' places between the least and the greatest of them, in percent."""
    result = []
    for key, variant in columns(evaluation):
        raw = {row: metric_value(evaluation, row, key, variant) for row in ROWS}
        known = [number for number in raw.values() if number is not None]
        if variant != "corrected" or not known:
            continue
        low, high = min(known), max(known)
        place = {
            row: 100 * (number - low) / ((high - low) or 1)
            for row, number in raw.items()
            if number is not None
        }
        result.append(
            {
                "metric": CATALOGUE[key],
                "rows": [
                    {
                        "key": row,
                        "name": ROWS[row],
                        "at": place.get(row),
                        "text": CATALOGUE[key].format(raw[row]),
                    }
                    for row in ROWS
                ],
                "truth": place.get("ground_truth"),
            }
        )
    return result


def published_row(evaluation: dict[str, Any]) -> dict[str, str]:
    """The model's published metrics, for the first row beside the paper's table."""
    return {
        key: CATALOGUE[key].format(metric_value(evaluation, "model", key, "published"))
        for key in TABLE_1_KEYS
    }


def published_table() -> list[dict[str, str]]:
    """Rows of the paper's Table 1 as later papers quote them, already in printed units."""
    with TABLE_1.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def clip_table(path: Path) -> list[dict[str, Any]]:
    """Return a row per clip: the model's metrics, and the ground truth's where they are compared.

    Args:
        path: The table `metrics/per_clip.csv`.

    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = {(row["clip"], row["row"]): row for row in csv.DictReader(file)}

    def shown(clip: str, row: str, column: str) -> str:
        text = rows[clip, row].get(column) or ""
        metric = CATALOGUE[column.removesuffix("_corrected")]
        return metric.format(float(text) if text else None)

    clips = dict.fromkeys(clip for clip, _ in rows)
    return [
        {
            "clip": clip,
            "seconds": int(rows[clip, "model"]["frames"]) / 30,
            "cells": [
                shown(clip, "model", "bc_corrected"),
                shown(clip, "ground_truth", "bc_corrected"),
                shown(clip, "model", "l1div_corrected"),
                shown(clip, "ground_truth", "l1div_corrected"),
                *(
                    shown(clip, "model", column)
                    for column in ("mse_corrected", "lvd_corrected", "srgr_corrected", "event_f1")
                ),
            ],
        }
        for clip in clips
    ]


def codebooks(path: Path) -> list[dict[str, Any]]:
    """Return the share of each codebook in use, in percent, and its perplexity.

    Args:
        path: The metrics `metrics/encode_codes.json`.

    """
    usage = read_json(path)
    parts = dict.fromkeys(key.split("/")[0] for key in usage)
    return [
        {
            "part": part,
            "used": 100 * usage[f"{part}/codes_used"],
            "perplexity": usage[f"{part}/perplexity"],
        }
        for part in parts
    ]
