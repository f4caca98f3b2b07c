"""The table of metrics as a paper prints it (Markdown, LaTeX) or as data (CSV)."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

from tabulate import tabulate

from mambatalk.errors import InputError
from mambatalk.metrics.catalogue import (
    CATALOGUE,
    KID,
    METRICS,
    MOTION,
    Instrument,
    MetricInfo,
    mark,
    metric_value,
)
from mambatalk.metrics.variant import AnyVariant

_NOUNS: Final[Mapping[Instrument, str]] = {"body": "body", "fgd_encoder": "FGD encoder"}
Format = Literal["markdown", "latex", "csv"]
_TABULATE: Final[Mapping[str, str]] = {"markdown": "github", "latex": "latex_booktabs"}
"""Names that tabulate has for our formats. The LaTeX table needs the package booktabs."""


def check_format(layout: str) -> Format:
    """Return the name of a table format, in small letters.

    Raises:
        InputError: The format is unknown.

    """
    for known in get_args(Format):
        if layout.lower() == known:
            return known
    raise InputError(
        "--format",
        f"expected {', '.join(get_args(Format))}, found {repr(layout)}",
        "choose one of these",
    )


def metrics_table(result: Mapping[str, Any], layout: Format) -> str:
    """Print the metrics of an evaluation as tables.

    Markdown and LaTeX have a table with one line for each method and variant, in the units of
    published tables, and a second one of motion and ground contact with one line for each metric
    and one column for each method. 95 % intervals are in brackets where there are some. Metrics
    that were measured with a stand-in body or another FGD encoder are marked (`footnotes`). CSV has
    one line for each value, in raw units, and names body or encoder.

    Args:
        result: Content of `metrics.json`, optionally with the "intervals" of `evaluate`.
        layout: Format of the table.

    """
    if layout == "csv":
        return _csv(result)

    return f"{_field_table(result, layout)}\n\n{_motion_table(result, layout)}\n"


def _field_table(result: Mapping[str, Any], layout: Format) -> str:
    metrics = [*METRICS.values(), KID]
    headings = ["method", "variant", *(_heading(result, metric) for metric in metrics)]
    lines = []
    for variant in get_args(AnyVariant):
        for method, row in result["rows"].items():
            # A row may lack a variant.
            if any(variant in row[key] for key in METRICS):
                cells = [_cell(result, method, metric, variant) for metric in metrics]
                lines.append([method, variant, *cells])
    return _tabulate(lines, headings, layout, texts=2)


def _motion_table(result: Mapping[str, Any], layout: Format) -> str:
    methods = list(result["rows"])
    lines = []
    for metric in MOTION.values():
        if all(metric_value(result, method, metric.key) is None for method in methods):
            # Result files do not contain codes, so these metrics have no value.
            continue
        cells = [_cell(result, method, metric, "corrected") for method in methods]
        lines.append([_heading(result, metric), metric.better, *cells])
    return _tabulate(lines, ["motion", "better", *methods], layout, texts=2)


def _tabulate(
    lines: Sequence[Sequence[str]], headings: Sequence[str], layout: Format, *, texts: int
) -> str:
    """Return a table whose first `texts` columns are text and whose others are numbers."""
    alignment = ["left"] * texts + ["right"] * (len(headings) - texts)
    # Cells are text already; left to itself tabulate would parse and reformat the numbers.
    return tabulate(
        lines, headings, tablefmt=_TABULATE[layout], colalign=alignment, disable_numparse=True
    )


def _heading(result: Mapping[str, Any], metric: MetricInfo) -> str:
    return f"{metric.heading}{mark(metric, result)}"


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
    writer.writerow(["method", "metric", "variant", "value", "low", "high", "measured_with"])
    for method, row in result["rows"].items():
        for key, variants in row.items():
            for variant, value in variants.items():
                low, high = _interval(result, method, key, variant) or (None, None)
                instrument = CATALOGUE[key].depends_on
                measured_with = f"{result[instrument]} {_NOUNS[instrument]}" if instrument else ""
                writer.writerow([method, key, variant, value, low, high, measured_with])
    return out.getvalue()
