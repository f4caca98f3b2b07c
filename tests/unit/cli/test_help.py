"""Every command explains itself with an example that its own options accept."""

import inspect
import shlex
import textwrap
from collections.abc import Iterator
from importlib.metadata import version

import pytest
import typer.main
from typer.testing import CliRunner

from mambatalk.cli import app

ROOT = typer.main.get_command(app)


def leaf_commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    """Yield the path, such as "bench scan", and the object of every command without children."""
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from leaf_commands(child, (*path, name))


COMMANDS = dict(leaf_commands(ROOT))


def examples(command: object) -> list[str]:
    """Return the example commands in a help text: its indented lines, with continuations joined."""
    text = inspect.cleandoc(getattr(command, "help", None) or "").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    return textwrap.dedent("\n".join(lines)).splitlines()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_with_existing_options(name: str) -> None:
    command = COMMANDS[name]
    options = {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]
    found = examples(command)
    assert found
    for example in found:
        assert example.startswith(f"mambatalk {name}")
        used = {word for word in shlex.split(example) if word.startswith("--")}
        assert used <= options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_is_described(name: str) -> None:
    for parameter in COMMANDS[name].params:  # type: ignore[attr-defined]
        assert parameter.help, parameter.name


def test_every_command_is_in_a_named_group_of_the_overview() -> None:
    for name, command in getattr(ROOT, "commands", {}).items():
        assert command.rich_help_panel, name


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"mambatalk {version('mambatalk')}\n")
