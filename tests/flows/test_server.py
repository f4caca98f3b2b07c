"""Flows that could change the champion refuse a Prefect server of another version."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import promote, retrain, rollback
from mambatalk.errors import InputError
from tests.helpers.answering import answering
from tests.helpers.built_checkout import ROOT


@pytest.fixture
def another_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server of another version; neither a process nor a registry may be opened with it."""

    def refuse() -> None:
        raise AssertionError("the command went on")

    for module in (promote, retrain, rollback):
        monkeypatch.setattr(module, "run_supervised", refuse)
        monkeypatch.setattr(module, "open_registry", refuse)
    with (
        answering({"/api/admin/version": '"3.1.0"'}) as address,
        temporary_settings({PREFECT_API_URL: f"{address}/api"}),
    ):
        yield


@pytest.mark.usefixtures("another_version")
@pytest.mark.parametrize(
    "command",
    [
        partial(retrain.main, root=str(ROOT)),
        partial(promote.main, root=str(ROOT)),
        partial(rollback.main, reason="hands shake"),
    ],
    ids=["retrain", "promote", "rollback"],
)
def test_a_command_reports_the_version_in_one_line(
    command: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command()
    (line,) = capsys.readouterr().err.splitlines()
    assert "found 3.1.0; upgrade the server first" in line


@pytest.mark.usefixtures("another_version")
@pytest.mark.parametrize(
    "flow",
    [
        partial(retrain.retrain.fn, str(ROOT)),
        partial(promote.promote.fn, str(ROOT)),
        partial(rollback.rollback.fn, "hands shake"),
    ],
    ids=["retrain", "promote", "rollback"],
)
def test_a_flow_on_a_worker_fails(flow: Callable[[], object]) -> None:
    with pytest.raises(InputError, match=r"found 3\.1\.0"):
        flow()
