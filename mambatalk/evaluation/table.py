"""The table of metrics as a paper prints it (Markdown, LaTeX) or as data (CSV)."""

import csv
import io
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from tabulate import tabulate

from mambatalk.errors import InputError
from mambatalk.metrics.catalogue import METRICS, MetricInfo, metric_value
from mambatalk.metrics.variant import AnyVariant

Format = Literal["markdown", "latex", "csv"]
_TABULATE: Final[Mapping[str, str]] = {"markdown": "github", "latex": "latex_booktabs"}
"""Names that tabulate has for our formats. The LaTeX table needs the package booktabs."""


def check_format(layout: str) -> Format:
    """Return the name of a table format.

    Raises:
        InputError: The format is unknown.

    """
    for known in get_args(Format):
        if layout == known:
            return known
    raise InputError(
        "--format",
        f"expected {', '.join(get_args(Format))}, found {repr(layout)}",
        "choose one of these",
    )


def metrics_table(result: Mapping[str, Any], layout: Format) -> str:
    """Print the metrics of an evaluation as a table.

    Markdown and LaTeX have one line for each method and variant, in the units of published tables,
    with 95 % intervals in brackets where there are some. CSV has one line for each value, in raw
    units.

    Args:
        result: Content of `metrics.json`, optionally with the "intervals" of `evaluate`.
        layout: Format of the table.

    """
    if layout == "csv":
        return _csv(result)

    headings = ["method", "variant", *(metric.heading for metric in METRICS.values())]
    lines = []
    for variant in get_args(AnyVariant):
        for method, row in result["rows"].items():
            # A row may lack a variant.
            if any(variant in row[key] for key in METRICS):
                cells = [_cell(result, method, metric, variant) for metric in METRICS.values()]
                lines.append([method, variant, *cells])

    alignment = ("left", "left", *("right" for _ in METRICS))
    # Cells are text already; left to itself tabulate would parse and reformat the numbers.
    text = tabulate(
        lines, headings, tablefmt=_TABULATE[layout], colalign=alignment, disable_numparse=True
    )
    return f"{text}\n"


def _cell(result: Mapping[str, Any], method: str, metric: MetricInfo, variant: str) -> str:
    text = metric.format(metric_value(result, method, metric.key, variant))
    interval = _interval(result, method, metric.key, variant)
    if interval is None:
        return text
    low, high = (metric.format(bound) for bound in interval)
    return f"{text} [{low}, {high}]"


def _interval(
    result: Mapping[str, Any], method: str, key: str, variant: str
) -> tuple[float, float] | None:
    return result.get("intervals", {}).get(method, {}).get(key, {}).get(variant)


def _csv(result: Mapping[str, Any]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["method", "metric", "variant", "value", "low", "high"])
    for method, row in result["rows"].items():
        for key, variants in row.items():
            for variant, value in variants.items():
                low, high = _interval(result, method, key, variant) or (None, None)
                writer.writerow([method, key, variant, value, low, high])
    return out.getvalue()
