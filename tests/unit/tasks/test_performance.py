"""The plots of docs/performance.md show what the tables of the documents say."""

from pathlib import Path

import pytest

from mambatalk.errors import InputError
from tasks.tools.performance import PLOTS, draw, number, read_table, training_hours, write
from tests.helpers.documents import ROOT


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", PLOTS)
def test_the_plot_in_the_repository_is_that_of_the_tables(name: str, tmp_path: Path) -> None:
    write(draw(name, "dark"), tmp_path / "plot.svg", name)
    written = ROOT / "docs" / "images" / f"performance-{name}-dark.svg"
    outdated = "python -m tasks.tools.performance draws it again"
    assert (tmp_path / "plot.svg").read_bytes() == written.read_bytes(), outdated


def test_numbers_are_read_from_the_table_below_a_heading() -> None:
    rows = read_table("data.md", "Measurements")
    assert [number(cell) for cell in rows["ingest, times real time"][:2]] == [1140, 1166]
    assert number(rows["ingest and features, times real time"][0]) == 273


def test_a_heading_without_a_table_is_named() -> None:
    with pytest.raises(InputError, match=r"experiments\.md: .*'No such thing'"):
        read_table("experiments.md", "No such thing")


def test_a_training_takes_its_windows_times_epochs_through_steps_of_a_batch() -> None:
    # 5,400 windows an hour, 200 epochs, batches of 64.
    assert training_hours(2.0, 3.6) == pytest.approx(2 * 5400 * 200 / 64 / 1000)
