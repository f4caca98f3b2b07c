"""Aliases stay valid after a crash between any two calls, and repeating the command finishes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mambatalk.errors import InputError
from tasks.registry.aliases import (
    CHALLENGER,
    Aliases,
    Change,
    is_interrupted,
    promote_version,
    read_aliases,
    read_history,
    roll_back,
    rolled_back_versions,
)
from tasks.registry.store import NAME

Operation = Callable[[Any], Change]


class Crash(Exception):
    """Stands for the end of the process."""


class CrashingClient:
    """The real client, whose process ends before or after the n-th call that changes something."""

    def __init__(self, client: MlflowClient, at: int, *, done: bool) -> None:
        self._client = client
        self._left = at
        self._done = done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not name.startswith(("set_", "delete_")):
            return method

        def call(*arguments: Any) -> Any:
            self._left -= 1
            if self._left:
                return method(*arguments)
            if self._done:
                method(*arguments)
            raise Crash

        return call


@pytest.fixture
def versions(client: MlflowClient, tmp_path: Path) -> list[str]:
    return [
        str(client.create_model_version(NAME, str(tmp_path / str(k))).version) for k in range(3)
    ]


def promote_challenger(client: MlflowClient, version: str) -> None:
    client.set_registered_model_alias(NAME, CHALLENGER, version)
    promote_version(client, version, why="better", operation=f"run of {version}")


def the_second_promotion(client: Any) -> Change:
    return promote_version(client, "2", why="better", operation="b")


def a_rollback(client: Any) -> Change:
    return roll_back(client, reason="worse", operation="c")


@pytest.mark.parametrize("done", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize(
    ("operation", "allowed", "final"),
    [
        (the_second_promotion, {"1", "2"}, Aliases("2", None, "1")),
        (a_rollback, {"1", "2"}, Aliases("1", None, None)),
    ],
    ids=["promotion", "rollback"],
)
def test_a_crash_leaves_a_champion_and_repeating_finishes(
    client: MlflowClient,
    versions: list[str],
    operation: Operation,
    allowed: set[str],
    final: Aliases,
    at: int,
    done: bool,
) -> None:
    promote_challenger(client, "1")
    client.set_registered_model_alias(NAME, CHALLENGER, "2")
    if operation is a_rollback:
        promote_challenger(client, "2")
    count = len(read_history(client))
    try:
        operation(CrashingClient(client, at, done=done))
    except Crash:
        left = read_aliases(client)
        assert left.champion in allowed
        # Whatever happened, the aliases name existing versions.
        for version in filter(None, left):
            assert client.get_model_version(NAME, version)
        operation(client)
    assert read_aliases(client) == final
    history = read_history(client)
    assert len(history) == count + 1
    assert not is_interrupted(final, history)
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 3


def test_the_number_of_crash_points_covers_all_calls(
    client: MlflowClient, versions: list[str]
) -> None:
    promote_challenger(client, "1")
    client.set_registered_model_alias(NAME, CHALLENGER, "2")
    # No call is left at which the sixth could fail.
    the_second_promotion(CrashingClient(client, 6, done=False))
    a_rollback(CrashingClient(client, 6, done=False))


def test_promoting_the_champion_again_keeps_the_way_back(
    client: MlflowClient, versions: list[str]
) -> None:
    promote_challenger(client, "1")
    promote_challenger(client, "2")
    promote_challenger(client, "2")
    assert read_aliases(client) == Aliases("2", None, "1")
    assert len(read_history(client)) == 2


def test_rollbacks_go_back_one_champion_each(client: MlflowClient, versions: list[str]) -> None:
    for version in versions:
        promote_challenger(client, version)
    roll_back(client, reason="hands shake", operation="first")
    assert read_aliases(client) == Aliases("2", None, "1")
    roll_back(client, reason="still", operation="first")
    assert read_aliases(client).champion == "2", "the same flow run makes no second step"
    roll_back(client, reason="still", operation="second")
    assert read_aliases(client) == Aliases("1", None, None)
    assert rolled_back_versions(read_history(client)) == {"2", "3"}
    with pytest.raises(InputError, match="found none but the champion 1; name an earlier"):
        roll_back(client, reason="more")


def test_a_rollback_can_name_an_earlier_champion(client: MlflowClient, versions: list[str]) -> None:
    for version in versions:
        promote_challenger(client, version)
    change = roll_back(client, reason="both are bad", to="1")
    assert (change.from_version, change.to_version) == ("3", "1")
    assert read_aliases(client) == Aliases("1", None, None)


def test_a_rollback_returns_to_former_champions_only(
    client: MlflowClient, versions: list[str]
) -> None:
    promote_challenger(client, "1")
    promote_challenger(client, "2")
    with pytest.raises(InputError, match="version '3': expected a version that was champion"):
        roll_back(client, reason="?", to="3")
    assert read_aliases(client).champion == "2"


def test_a_rollback_without_a_champion_is_refused(
    client: MlflowClient, versions: list[str]
) -> None:
    with pytest.raises(InputError, match="expected a champion to roll back from, found none"):
        roll_back(client, reason="?")


def test_the_history_says_who_when_why_from_and_to(
    client: MlflowClient, versions: list[str]
) -> None:
    promote_challenger(client, "1")
    promote_challenger(client, "2")
    roll_back(client, reason="hands shake")
    first, second, third = read_history(client)
    assert (first.from_version, first.to_version) == (None, "1")
    assert (second.from_version, second.to_version, second.why) == ("1", "2", "better")
    assert (third.action, third.why) == ("rollback", "hands shake")
    assert "@" in third.who
    assert third.when.endswith("+00:00")
