"""Promote, roll back, approval and status, on a real registry and a real Prefect server."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from mlflow import MlflowClient
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.flow_runs import resume_flow_run
from prefect.runtime import flow_run
from rich.console import Console

from flows import promote as promotion
from flows import rollback as rolling_back
from flows import status
from tasks.registry.aliases import CHALLENGER, promote_version, read_aliases, read_history
from tasks.registry.store import NAME, open_registry
from tasks.tracking.store import connect
from tests.helpers.built_checkout import ROOT

ALIASES = ("champion", "challenger", "previous")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMBATALK_HOME", str(tmp_path_factory.mktemp("registry")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect.cache_clear()
        client = open_registry()
        for k in range(2):
            client.create_model_version(NAME, str(tmp_path_factory.mktemp(f"model{k}")))
        yield client
    connect.cache_clear()


@pytest.fixture
def client(registry: MlflowClient) -> MlflowClient:
    """Return the registry without aliases and history."""
    for name in ALIASES:
        if getattr(read_aliases(registry), name):
            registry.delete_registered_model_alias(NAME, name)
    # Without its aliases, a history looks like an interrupted change.
    for tag in registry.get_registered_model(NAME).tags:
        registry.delete_registered_model_tag(NAME, tag)
    return registry


@pytest.fixture
def two_champions(client: MlflowClient) -> MlflowClient:
    promote_version(client, "1", why="first")
    promote_version(client, "2", why="better")
    return client


@pytest.mark.usefixtures("prefect")
def test_a_rollback_moves_the_champion_and_status_shows_it(
    two_champions: MlflowClient, tmp_path: Path
) -> None:
    outcome = rolling_back.rollback("hands <shake>")
    assert outcome == {"from": "2", "champion": "1"}
    assert read_aliases(two_champions).champion == "1"
    found = status.read_status()
    assert found.headline == "Version 1 is the champion"
    page = tmp_path / "status.html"
    status.write_status(found, page)
    text = io.StringIO()
    status.print_status(found, Console(file=text, width=200))
    for shown in (text.getvalue(), page.read_text(encoding="utf-8")):
        assert "Version 1 is the champion" in shown
        assert "rollback" in shown
    assert "hands <shake>" in text.getvalue()
    assert "hands &lt;shake&gt;" in page.read_text(encoding="utf-8")
    last = next(one for one in found.sections if one.title == "Last flow runs")
    assert "rollback" in {row[0] for row in last.rows}


@pytest.mark.usefixtures("prefect")
def test_without_a_challenger_the_champion_stays(two_champions: MlflowClient) -> None:
    count = len(read_history(two_champions))
    outcome = promotion.promote(str(ROOT))
    assert (outcome["verdict"], outcome["champion"]) == ("none", "2")
    assert len(read_history(two_champions)) == count


@flow(name="approval")
def approval(started: list[str]) -> tuple[str, str]:
    started.append(str(flow_run.get_id()))
    return promotion._ask(Path("page.html"), "It is better.", 0.1)


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize(("answer", "verdict"), [(True, "promote"), (False, "reject")])
def test_a_person_approves_or_not(answer: bool, verdict: str) -> None:
    started: list[str] = []
    answered = threading.Thread(target=_answer, args=(started, answer))
    answered.start()
    # Validation would copy the list, into which the run writes its id.
    found, reason = approval.with_options(validate_parameters=False)(started)
    answered.join()
    assert found == verdict
    assert "looked at it" in reason


def _answer(started: list[str], approve: bool) -> None:
    """Resume the flow run when it has paused."""
    pause = threading.Event()
    with get_client(sync_client=True) as server:
        for _ in range(600):
            if started:
                state = server.read_flow_run(UUID(started[0])).state
                if state and state.type == StateType.PAUSED:
                    break
            pause.wait(0.2)
        resume_flow_run(UUID(started[0]), run_input={"approve": approve, "reason": "looked at it"})


def assert_one_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert text in error


def test_promoting_without_any_version_is_reported_in_one_line(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        promotion.main(root=str(ROOT))
    assert_one_line(capsys, "expected a challenger or a champion, found neither")


def test_promoting_an_unknown_version_is_reported_in_one_line(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.set_registered_model_alias(NAME, CHALLENGER, "1")
    with pytest.raises(SystemExit, match="2"):
        promotion.main(root=str(ROOT), version="99")
    assert_one_line(capsys, "version '99': expected a version of the registered model")


def test_rolling_back_without_a_champion_is_reported_in_one_line(
    client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        rolling_back.main(reason="hands shake")
    assert_one_line(capsys, "expected a champion to roll back from, found none")
