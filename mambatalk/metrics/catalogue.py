"""The metrics by name: key in `metrics.json`, label, printed unit and direction.

Every place that prints metrics takes them from here: `mambatalk evaluate`, the summary at the end
of a build, the report, and the figures that DVC compares.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from mambatalk.motion.skeleton import Part

MovingPart = Literal["jaw", "expressions", "upper", "hands", "lower", "root"]
"""The face is two parts, because a moving jaw would hide expressions that stand still, and the
other way round. `root` is the place of the pelvis; its rotation belongs to `lower`."""
MOVING_PARTS: Final[tuple[MovingPart, ...]] = get_args(MovingPart)
ROTATING_PARTS: Final[tuple[MovingPart, ...]] = ("jaw", "upper", "hands", "lower")
Better = Literal["lower", "higher", "nearer to ground truth"]
_NEARER: Final[Better] = "nearer to ground truth"
GROUND_TRUTH: Final = "ground_truth"
"""Row of the recordings in `metrics.json`."""
Instrument = Literal["body", "fgd_encoder"]
"""Key in `metrics.json` of what some metrics are measured with."""
MISSING: Final = "–"
"""Printed where a metric is undefined."""


@dataclass(frozen=True)
class MetricInfo:
    """How one metric is named, printed and compared.

    Args:
        key: Name in `metrics.json` and in MLflow.
        label: Name in tables.
        better: Which values are better. Metrics without a best value of their own are compared with
            the value of ground truth.
        exponent: Papers print the raw value divided by 10 to this power.
        unit: Unit of the raw value; empty for a ratio.
        symbol: Printed unit, if it has a name of its own, such as `cm` for 1e-2 m.
        depends_on: What the metric is measured with, where another body or encoder gives another
            number.

    """

    key: str
    label: str
    better: Better
    exponent: int = 0
    unit: str = ""
    symbol: str = ""
    depends_on: Instrument | None = None

    @property
    def printed_unit(self) -> str:
        """Unit of printed values, such as `1e-8 m²`; empty for a plain ratio."""
        if self.symbol:
            return self.symbol
        scale = f"1e{self.exponent}" if self.exponent else ""
        return " ".join(filter(None, (scale, self.unit)))

    @property
    def heading(self) -> str:
        """Label with the printed unit, such as `Face MSE (1e-8 m²)`."""
        return f"{self.label} ({self.printed_unit})" if self.printed_unit else self.label

    def scaled(self, value: float) -> float:
        """Convert a raw value to the unit that papers print."""
        return value / 10.0**self.exponent

    def format(self, value: float | None) -> str:
        """Print a raw value in the unit that papers print, with four digits; a dash for None."""
        if value is None:
            return MISSING
        scaled = self.scaled(value)
        if scaled and not 0.001 <= abs(scaled) < 1e6:
            return f"{scaled:.2e}"
        whole_digits = len(str(int(abs(scaled))))
        return f"{scaled:,.{max(0, 4 - whole_digits)}f}"


def _by_key(*metrics: MetricInfo) -> Mapping[str, MetricInfo]:
    return MappingProxyType({metric.key: metric for metric in metrics})


METRICS: Final = _by_key(
    MetricInfo("fgd", "FGD", "lower", exponent=-1, depends_on="fgd_encoder"),
    MetricInfo("bc", "BC", "nearer to ground truth", exponent=-1, depends_on="body"),
    MetricInfo("l1div", "Diversity", "nearer to ground truth", unit="m", depends_on="body"),
    MetricInfo("mse", "Face MSE", "lower", exponent=-8, unit="m²", depends_on="body"),
    MetricInfo("lvd", "LVD", "lower", exponent=-5, unit="m", depends_on="body"),
    MetricInfo("srgr", "SRGR", "higher", depends_on="body"),
)
"""Metrics of the field, in the order of published tables; each has variants."""
EVENT_F1: Final = MetricInfo("event_f1", "Event F1", "higher")
"""Score of mouth, arms and head against the motion rules of the embedded sample."""
EVENT_F1_LOWER: Final = MetricInfo(
    "event_f1_lower", "Event F1, lower body", "higher", depends_on="body"
)
"""The same score of steps and shifts of weight. It is a metric of its own because speech determines
when they happen, but not which of the two, so that even a good model stays below 1."""
EVENTS: Final = _by_key(EVENT_F1, EVENT_F1_LOWER)
"""Scores of events. They have no variants and are undefined for recorded clips."""
KID: Final = MetricInfo("kid", "KID", "lower", depends_on="fgd_encoder")
"""Kernel distance between the features of FGD. Like the metrics in `MOTION` it has no published
variant."""

DEEPEST: Final = "penetration_deepest"
"""The one metric that is a maximum over clips and not a mean, so that it has no interval."""
PART_NAMES: Final[Mapping[MovingPart, str]] = MappingProxyType(
    {
        "jaw": "jaw",
        "expressions": "expressions",
        "upper": "upper body",
        "hands": "hands",
        "lower": "lower body",
        "root": "root",
    }
)
"""Names of the moving parts in tables."""
CODED_PARTS: Final[Mapping[Part, str]] = MappingProxyType(
    {"face": "face", "upper": "upper body", "hands": "hands", "lower": "lower body"}
)
"""Names of the parts that have codes."""


def _part_metrics(part: MovingPart) -> Iterator[MetricInfo]:
    name = PART_NAMES[part]
    if part == "root":
        yield MetricInfo(f"range_{part}", f"Range, {name}", _NEARER, -2, "m", "cm")
        yield MetricInfo(f"speed_{part}", f"Speed, {name}", _NEARER, -2, "m/s", "cm/s")
        yield MetricInfo(f"jerk_{part}", f"Jerk, {name}", _NEARER, 0, "m/s³")
    else:
        # Expression coefficients have no unit.
        unit = "rad" if part in ROTATING_PARTS else "1"
        range_unit = unit if part in ROTATING_PARTS else ""
        yield MetricInfo(f"range_{part}", f"Range, {name}", _NEARER, 0, range_unit)
        yield MetricInfo(f"speed_{part}", f"Speed, {name}", _NEARER, 0, f"{unit}/s")
        yield MetricInfo(f"jerk_{part}", f"Jerk, {name}", _NEARER, 0, f"{unit}/s³")
    yield MetricInfo(f"correlation_{part}", f"Correlation, {name}", "higher")
    if part in ROTATING_PARTS:
        yield MetricInfo(f"posture_{part}", f"Posture error, {name}", "lower", 0, "rad")


MOTION: Final = _by_key(
    *(
        MetricInfo(f"codes_{part}", f"Code perplexity, {name}", _NEARER)
        for part, name in CODED_PARTS.items()
    ),
    *(metric for part in MOVING_PARTS for metric in _part_metrics(part)),
    MetricInfo("root_drift", "Root drift in 10 s", _NEARER, -2, "m", "cm"),
    MetricInfo("height_error", "Height error", "lower", -2, "m", "cm"),
    MetricInfo("foot_skating", "Foot skating", "lower", -2, "m/s", "cm/s", "body"),
    MetricInfo("skating_ratio", "Foot skating ratio", "lower", depends_on="body"),
    MetricInfo("penetration", "Floor penetration", "lower", -2, "m", "cm", "body"),
    MetricInfo(DEEPEST, "Floor penetration, deepest", "lower", -2, "m", "cm", "body"),
)
"""Use of codes and movement of each part, and where the body stands. Published code computes none
of these, so that each has the variant `corrected` alone."""
CATALOGUE: Final = _by_key(*METRICS.values(), *EVENTS.values(), KID, *MOTION.values())

RATIOS: Final = ("codes_", "range_", "speed_", "jerk_")
"""Prefixes of the keys that are compared as ratios to ground truth over the same clips."""


def metric_value(
    result: Mapping[str, Any], row: str, key: str, variant: str = "corrected"
) -> float | None:
    """Read one raw value out of the content of `metrics.json`; None where it is undefined.

    Args:
        result: Content of `metrics.json`.
        row: Name of the method.
        key: Key of the metric.
        variant: Variant of the metric.

    """
    if key in EVENTS:
        return result[key][row]
    return result["rows"][row][key].get(variant)


def ratio_to_truth(result: Mapping[str, Any], row: str, key: str) -> float | None:
    """Return a corrected metric as a ratio to that of ground truth; None where undefined.

    Args:
        result: Content of `metrics.json`.
        row: Name of the method.
        key: Key of the metric.

    """
    value = metric_value(result, row, key)
    truth = metric_value(result, GROUND_TRUTH, key)
    if value is None or not truth:
        return None
    return value / truth


MARKS: Final[Mapping[Instrument, str]] = MappingProxyType({"body": "†", "fgd_encoder": "‡"})
"""Mark in tables of metrics that were measured with another body or encoder than published ones."""
_FOOTNOTES: Final = MappingProxyType(
    {
        "stand-in": "measured on the stand-in body and not on SMPL-X",
        "home-made": "measured with an FGD encoder that was trained here and not the published one",
        "unknown": "measured with an FGD encoder that is not the published file",
    }
)


def footnotes(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the marks of metrics that cannot be compared with published ones, and the reasons.

    Args:
        result: Content of `metrics.json`.

    """
    texts = {mark: _FOOTNOTES.get(result[key] or "") for key, mark in MARKS.items()}
    return {
        mark: f"{text}: not comparable with published numbers"
        for mark, text in texts.items()
        if text
    }


def mark(metric: MetricInfo, result: Mapping[str, Any]) -> str:
    """Return the mark of a metric in tables; empty where it is measured as published."""
    found = MARKS[metric.depends_on] if metric.depends_on else ""
    return found if found in footnotes(result) else ""
