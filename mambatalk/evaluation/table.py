"""The metrics table as a paper prints it (Markdown, LaTeX) or as data (CSV)."""

import csv
import io
from collections.abc import Mapping
from typing import Any, Literal, get_args

from mambatalk.errors import InputError
from mambatalk.evaluation.row import METRICS

Format = Literal["markdown", "latex", "csv"]
UNITS = {
    "fgd": (0.1, "FGD (0.1)"),
    "bc": (0.1, "BC (0.1)"),
    "l1div": (1.0, "DIV"),
    "mse": (1e-8, "MSE (1e-8)"),
    "lvd": (1e-5, "LVD (1e-5)"),
    "srgr": (1.0, "SRGR"),
}
"""Unit and heading of each metric in published tables."""


def check_format(layout: str) -> Format:
    """Return the layout.

    Raises:
        InputError: It is not one of those known.

    """
    for known in get_args(Format):
        if layout == known:
            return known
    raise InputError(
        "--format",
        f"expected {', '.join(get_args(Format))}, found {repr(layout)}",
        "name one of these",
    )


def metrics_table(result: Mapping[str, Any], layout: Format) -> str:
    """Lay out the content of `metrics.json`, with an "intervals" entry where there is one.

    Markdown and LaTeX have one line for each row and variant in the units of published tables, 95 %
    intervals in brackets; CSV has one line for each value in raw units.
    """
    if layout == "csv":
        return _csv(result)
    heading = ["method", "variant", *(heading for _, heading in UNITS.values())]
    lines = [
        [name, variant, *(_cell(result, name, metric, variant) for metric in METRICS)]
        for variant in ("published", "corrected", "evaltools")
        for name in result["rows"]
        if any(variant in result["rows"][name][metric] for metric in METRICS)
    ]
    return _markdown(heading, lines) if layout == "markdown" else _latex(heading, lines)


def _cell(result: Mapping[str, Any], name: str, metric: str, variant: str) -> str:
    unit, _ = UNITS[metric]
    value = result["rows"][name][metric].get(variant)
    if value is None:
        return "-"
    interval = _interval(result, name, metric, variant)
    bounds = f" [{interval[0] / unit:.4g}, {interval[1] / unit:.4g}]" if interval else ""
    return f"{value / unit:.4g}{bounds}"


def _interval(
    result: Mapping[str, Any], name: str, metric: str, variant: str
) -> tuple[float, float] | None:
    return result.get("intervals", {}).get(name, {}).get(metric, {}).get(variant)


def _markdown(heading: list[str], lines: list[list[str]]) -> str:
    rows = [heading, ["---"] * len(heading), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _latex(heading: list[str], lines: list[list[str]]) -> str:
    rows = [
        " & ".join(cell.replace("_", r"\_") for cell in row) + r" \\" for row in (heading, *lines)
    ]
    columns = "ll" + "r" * (len(heading) - 2)
    return (
        "\n".join(
            [
                rf"\begin{{tabular}}{{{columns}}}",
                r"\hline",
                rows[0],
                r"\hline",
                *rows[1:],
                r"\hline",
                r"\end{tabular}",
            ]
        )
        + "\n"
    )


def _csv(result: Mapping[str, Any]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["method", "metric", "variant", "value", "low", "high"])
    for name, metrics in result["rows"].items():
        for metric, variants in metrics.items():
            for variant, value in variants.items():
                low, high = _interval(result, name, metric, variant) or (None, None)
                writer.writerow([name, metric, variant, value, low, high])
    return out.getvalue()
