"""Figures of pages are small, and what is left out of them cannot be seen."""

import re
import warnings
from xml.etree import ElementTree

import numpy as np
from matplotlib.axes import Axes

from mambatalk.reporting.picture import BAD, MODEL, draw

SVG = "{http://www.w3.org/2000/svg}"


def scatter(axes: Axes) -> None:
    axes.plot(np.arange(200), np.sin(np.arange(200)), ".", color=BAD)
    axes.plot(np.arange(200), np.cos(np.arange(200)), color=MODEL)
    axes.set_xlabel("time (s)")


def test_a_figure_is_valid_and_keeps_points_curves_and_texts() -> None:
    document = ElementTree.fromstring(draw(scatter, width=640, height=150, label="a < b"))
    assert document.get("aria-label") == "a < b"
    markers = [
        group
        for group in document.iter(f"{SVG}g")
        if len(group.findall(f"{SVG}use")) == 200 and "var(--bad)" in group.get("style", "")
    ]
    assert len(markers) == 1, "the points share one style"
    curves = [path.get("d", "") for path in document.iter(f"{SVG}path")]
    points = max((re.findall(r"-?[\d.]+", curve) for curve in curves), key=len)
    assert len(points) >= 2 * 190, "Matplotlib leaves out points on a straight line"
    assert "time (s)" in [text.text for text in document.iter(f"{SVG}text")]


def test_a_point_takes_few_bytes() -> None:
    """The first page of 2,000 flagged clips is below 5 MB, most of it points and curves."""
    empty = len(draw(lambda axes: None, width=640, height=150, label=""))
    size = len(draw(scatter, width=640, height=150, label="")) - empty
    assert size < 200 * (60 + 15) + 1500


def test_words_in_chinese_give_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = draw(lambda axes: axes.set_xlabel("我们"), width=300, height=100, label="")
    assert "我们" in svg
