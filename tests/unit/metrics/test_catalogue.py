"""The catalogue of metrics: printed numbers, headings, and values read from metrics.json."""

import pytest
from torchmetrics import Metric

from mambatalk.metrics import (
    LVD,
    SRGR,
    BeatConsistency,
    CodePerplexity,
    DeepestPenetration,
    FaceMSE,
    FloorPenetration,
    FootSkating,
    FootSkatingRatio,
    FrechetGestureDistance,
    HeightError,
    KernelDistance,
    L1Diversity,
    MotionCorrelation,
    MotionJerk,
    MotionRange,
    MotionSpeed,
    PostureError,
    RootDrift,
)
from mambatalk.metrics.catalogue import (
    CATALOGUE,
    EVENTS,
    KID,
    METRICS,
    metric_value,
    ratio_to_truth,
)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("fgd", 0.5366, "5.366"),
        ("bc", 0.781, "7.810"),
        ("l1div", 13.05, "13.05"),
        ("mse", 6.289e-8, "6.289"),
        ("lvd", 6.897e-5, "6.897"),
        ("srgr", 0.29, "0.290"),
        ("event_f1", 0.98, "0.980"),
        ("root_drift", 0.0735, "7.350"),
        ("range_lower", 0.035, "0.035"),
    ],
)
def test_numbers_are_printed_in_the_units_of_papers(key: str, value: float, text: str) -> None:
    assert CATALOGUE[key].format(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0.000"),
        (0.001, "0.001"),
        (12345.6, "12,346"),
        (1e-5, "1.00e-05"),
        (1e6, "1.00e+06"),
        (2.5e7, "2.50e+07"),
    ],
)
def test_numbers_of_any_size_are_readable(value: float | None, text: str) -> None:
    assert CATALOGUE["l1div"].format(value) == text


def test_headings_name_the_printed_unit() -> None:
    headings = [metric.heading for metric in (*METRICS.values(), *EVENTS.values(), KID)]
    assert headings == [
        "FGD (1e-1)",
        "BC (1e-1)",
        "Diversity (m)",
        "Face MSE (1e-8 m²)",
        "LVD (1e-5 m)",
        "SRGR",
        "Event F1",
        "Event F1, lower body",
        "KID",
    ]
    assert CATALOGUE["root_drift"].heading == "Root drift in 10 s (cm)"
    assert CATALOGUE["speed_upper"].heading == "Speed, upper body (rad/s)"


def test_ratios_to_ground_truth_are_undefined_where_it_stands_still() -> None:
    values = {"ground_truth": 2.0, "model": 1.5}
    rows = {name: {"range_jaw": {"corrected": value}} for name, value in values.items()}
    assert ratio_to_truth({"rows": rows}, "model", "range_jaw") == 0.75
    rows["ground_truth"]["range_jaw"]["corrected"] = 0.0
    assert ratio_to_truth({"rows": rows}, "model", "range_jaw") is None


def test_values_are_read_by_row_and_variant() -> None:
    row: dict[str, dict[str, float | None]]
    row = {key: {"published": 1.0, "corrected": None} for key in METRICS}
    row["bc"]["corrected"] = 2.0
    result = {"rows": {"model": row}, "event_f1": {"model": 0.5}, "event_f1_lower": {"model": 0.25}}
    assert metric_value(result, "model", "fgd", "published") == 1.0
    assert metric_value(result, "model", "fgd") is None
    assert metric_value(result, "model", "bc") == 2.0, "corrected is the default"
    assert metric_value(result, "model", "mse", "evaltools") is None
    assert metric_value(result, "model", "event_f1") == 0.5
    assert metric_value(result, "model", "event_f1_lower") == 0.25


@pytest.mark.parametrize(
    ("key", "metric"),
    [
        ("fgd", FrechetGestureDistance),
        ("bc", BeatConsistency),
        ("l1div", L1Diversity),
        ("mse", FaceMSE),
        ("lvd", LVD),
        ("srgr", SRGR),
        ("kid", KernelDistance),
        ("codes_lower", CodePerplexity),
        ("range_lower", MotionRange),
        ("speed_lower", MotionSpeed),
        ("jerk_lower", MotionJerk),
        ("correlation_lower", MotionCorrelation),
        ("posture_lower", PostureError),
        ("root_drift", RootDrift),
        ("height_error", HeightError),
        ("foot_skating", FootSkating),
        ("skating_ratio", FootSkatingRatio),
        ("penetration", FloorPenetration),
        ("penetration_deepest", DeepestPenetration),
    ],
)
def test_classes_declare_the_direction_of_the_catalogue(key: str, metric: type[Metric]) -> None:
    directions = {"lower": False, "higher": True, "nearer to ground truth": None}
    assert metric.higher_is_better is directions[CATALOGUE[key].better]
