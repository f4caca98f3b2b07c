"""Aliases of the registered model, moved in an order that stays valid after a crash.

`champion` is the version that everybody loads, `previous` the one that a rollback returns to, and
`challenger` the one that waits for the promotion gate. Every change is first written to a tag
`history.NNNN` of the registered model. A change that was interrupted between any two calls is
finished by repeating the command; until then the old champion stays, or the new one is in place
already. No version and no tag is ever deleted.
"""

import getpass
import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from mambatalk.errors import InputError
from tasks.registry.store import NAME

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PREVIOUS: Final = "previous"
_HISTORY: Final = "history."
_MAX_REASON: Final = 1000
"""Characters; MLflow keeps 5000 of a tag."""


class Aliases(NamedTuple):
    """Versions by alias; None where an alias is not set."""

    champion: str | None
    challenger: str | None
    previous: str | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of the champion, one entry of the history."""

    action: Literal["promote", "rollback"]
    from_version: str | None
    """Champion before the change; None for the first champion."""
    to_version: str
    who: str
    when: str
    """ISO 8601, UTC."""
    why: str
    operation: str
    """Identifies the command or flow run, so that its repetition changes nothing; may be empty."""


def read_aliases(client: "MlflowClient") -> Aliases:
    """Return the current aliases."""
    found = client.get_registered_model(NAME).aliases
    versions = {name: str(version) for name, version in found.items()}
    return Aliases(*(versions.get(name) for name in Aliases._fields))


def read_history(client: "MlflowClient") -> list[Change]:
    """Return all changes of the champion, the oldest first."""
    tags = client.get_registered_model(NAME).tags
    return [Change(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(_HISTORY)]


def is_interrupted(aliases: Aliases, history: list[Change]) -> bool:
    """Return whether the last change is in the history, but was not made or only in part."""
    if not history:
        return False
    last = history[-1]
    return aliases.champion != last.to_version or aliases.previous == aliases.champion


def rolled_back_versions(history: list[Change]) -> set[str]:
    """Return the versions that were rolled back from and not promoted again."""
    versions: set[str] = set()
    for change in history:
        versions.discard(change.to_version)
        if change.action == "rollback" and change.from_version:
            versions.add(change.from_version)
    return versions


def promote_version(
    client: "MlflowClient", version: str, *, why: str, operation: str = ""
) -> Change:
    """Make a version the champion, and the champion `previous`.

    The same call again changes nothing, so that `previous` stays the way back.

    Args:
        client: Client of the registry.
        version: An existing version.
        why: Reason, for the history.
        operation: Identifies the flow run.

    Returns:
        The change that made the version the champion.

    """
    aliases = read_aliases(client)
    history = read_history(client)
    last = history[-1] if history else None
    if aliases.champion == version and last and last.to_version == version:
        change = last
    elif _is_pending(last, "promote", aliases.champion, version):
        assert last
        change = last
        _move(client, aliases.champion, version)
    else:
        # An alias that was moved by hand has no history.
        before = aliases.champion if aliases.champion != version else None
        change = _write(client, history, "promote", before, version, why, operation)
        _move(client, before, version)
    if read_aliases(client).challenger == version:
        client.delete_registered_model_alias(NAME, CHALLENGER)
    return change


def _move(client: "MlflowClient", champion: str | None, version: str) -> None:
    # First the way back, then the step: between the two calls the champion is the old one.
    if champion and champion != version:
        client.set_registered_model_alias(NAME, PREVIOUS, champion)
    client.set_registered_model_alias(NAME, CHAMPION, version)


def roll_back(
    client: "MlflowClient", *, reason: str, operation: str = "", to: str | None = None
) -> Change:
    """Make the previous champion the champion again.

    Afterwards `previous` is the champion before that one, if there was one. An interrupted rollback
    is finished instead of starting a second one, and the same operation never runs twice.

    Args:
        client: Client of the registry.
        reason: Reason, for the history.
        operation: Identifies the flow run.
        to: Earlier champion to return to. If None, the version with the alias `previous`.

    Raises:
        InputError: There is no champion, no earlier one, or `to` never was the champion.

    """
    aliases = read_aliases(client)
    history = read_history(client)
    last = history[-1] if history else None
    if last and last.action == "rollback" and to in (None, last.to_version):
        unfinished = is_interrupted(aliases, history) and aliases.champion in (
            last.from_version,
            last.to_version,
        )
        if unfinished or (operation and last.operation == operation):
            _return_to(client, last, history)
            return last
    target = _target(aliases, history, to)
    change = _write(client, history, "rollback", aliases.champion, target, reason, operation)
    _return_to(client, change, history)
    return change


def check_rollback(client: "MlflowClient", to: str | None = None) -> None:
    """Verify that a rollback is possible.

    Args:
        client: Client of the registry.
        to: As in `roll_back`.

    Raises:
        InputError: See `roll_back`.

    """
    aliases = read_aliases(client)
    history = read_history(client)
    if not is_interrupted(aliases, history):
        _target(aliases, history, to)


def _target(aliases: Aliases, history: list[Change], to: str | None) -> str:
    """Return the version to return to."""
    if aliases.champion is None:
        raise InputError(
            f"registered model {NAME}",
            "expected a champion to roll back from, found none",
            "promote a version first: `python -m flows.promote`",
        )
    target = to or aliases.previous
    if target is None or target == aliases.champion:
        raise InputError(
            f"registered model {NAME}",
            f"expected a version to return to, found none but the champion {aliases.champion}",
            "name an earlier champion with --to; `python -m flows.status` lists them",
        )
    if target not in {change.to_version for change in history}:
        raise InputError(
            f"version {target!r}",
            "expected a version that was champion before, found another",
            "`python -m flows.status` lists them; a new version goes through the gate",
        )
    return target


def _return_to(client: "MlflowClient", change: Change, history: list[Change]) -> None:
    """Make the champion of a rollback the champion; every call can be repeated."""
    client.set_registered_model_alias(NAME, CHAMPION, change.to_version)
    earlier = _champion_before(change.to_version, history)
    if earlier is not None:
        client.set_registered_model_alias(NAME, PREVIOUS, earlier)
    elif read_aliases(client).previous is not None:
        client.delete_registered_model_alias(NAME, PREVIOUS)


def _champion_before(version: str, history: list[Change]) -> str | None:
    """Return the champion that a version replaced when it was last promoted."""
    for change in reversed(history):
        if change.action == "promote" and change.to_version == version:
            return change.from_version
    return None


def _is_pending(last: Change | None, action: str, champion: str | None, version: str) -> bool:
    """Return whether the last change is this one, written down before a crash and not made."""
    return last is not None and (last.action, last.from_version, last.to_version) == (
        action,
        champion,
        version,
    )


def _write(
    client: "MlflowClient",
    history: list[Change],
    action: Literal["promote", "rollback"],
    from_version: str | None,
    to_version: str,
    why: str,
    operation: str,
) -> Change:
    change = Change(
        action=action,
        from_version=from_version,
        to_version=to_version,
        who=f"{_user()}@{socket.gethostname()}",
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        why=why[:_MAX_REASON],
        operation=operation,
    )
    key = f"{_HISTORY}{len(history) + 1:04d}"
    client.set_registered_model_tag(NAME, key, json.dumps(asdict(change)))
    return change


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container whose user has no name.
        return str(os.getuid())
