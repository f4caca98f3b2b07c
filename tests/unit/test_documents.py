"""README and docs agree with the code: commands exist, names exist, links lead somewhere."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from mambatalk.cli import app
from mambatalk.quality.decisions import COLUMNS
from tasks.site.hooks import IN_TUTORIAL, NEEDS
from tests.helpers.documents import (
    DOCUMENTS,
    ROOT,
    blocks_in,
    inline_commands,
    languages,
    python_blocks,
    shell_blocks,
)

ALL_COMMANDS = [
    (path.relative_to(ROOT).as_posix(), command)
    for path in DOCUMENTS
    for command in (
        *inline_commands(path),
        *(command for block in shell_blocks(path) for command in block.commands),
    )
]
GUIDES = sorted((ROOT / "docs").glob("add-*.md"))
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _starting_with(*words: str) -> list[tuple[str, str]]:
    return [item for item in ALL_COMMANDS if item[1].split()[: len(words)] == list(words)]


@pytest.mark.parametrize(("document", "command"), _starting_with("make"))
def test_make_targets_exist(document: str, command: str) -> None:
    targets = {
        word for word in shlex.split(command)[1:] if "=" not in word and not word.startswith("-")
    }
    assert targets <= MAKE_TARGETS, document


@pytest.mark.parametrize(("document", "command"), _starting_with("python", "-m"))
def test_modules_of_commands_exist(document: str, command: str) -> None:
    module = shlex.split(command)[2]
    if "…" not in module:
        assert importlib.util.find_spec(module) is not None, document


@pytest.mark.parametrize(("document", "command"), _starting_with("mambatalk"))
def test_subcommands_and_options_exist(document: str, command: str) -> None:
    group = typer.main.get_command(app)
    words = shlex.split(command)[1:]
    while words and hasattr(group, "commands"):
        assert words[0] in group.commands, f"{document}: {command}"
        group = group.commands[words.pop(0)]

    known = {option for parameter in group.params for option in parameter.opts} | {"--help"}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"{document}: {command}"


@pytest.mark.slow
def test_every_test_that_a_document_names_is_found() -> None:
    """`pytest FILE -k WORDS` of the documents selects at least one test each."""
    commands = {command for _, command in _starting_with("pytest")}
    words = re.findall(r"\| `([a-z_]+)`(?:;[^|]*)? \|$", _text("docs/fidelity.md"), re.MULTILINE)
    base = "pytest tests/unit/published/test_published_and_corrected.py"
    commands |= {f"{base} -k {word}" for word in words}
    assert len(commands) > 20

    wanted = [_selection(command) for command in sorted(commands)]
    files = sorted({file for file, _ in wanted})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *files, "--collect-only", "-q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    collected = done.stdout.splitlines()
    for file, words in wanted:
        for word in words:
            assert [name for name in collected if name.startswith(file) and word in name], word


def _selection(command: str) -> tuple[str, list[str]]:
    """Split `pytest FILE -k "one or another"` into its file and the alternatives of `-k`."""
    arguments = shlex.split(command)[1:]
    file = next(word for word in arguments if word.startswith("tests"))
    expression = arguments[arguments.index("-k") + 1] if "-k" in arguments else ""
    return file, expression.split(" or ")


def test_marks_of_blocks_are_known() -> None:
    marks = {block.needs for path in DOCUMENTS for block in shell_blocks(path)} - {""}
    assert marks <= {*NEEDS, IN_TUTORIAL}
    assert {mark for path in DOCUMENTS for mark, _ in python_blocks(path)} <= {"", *NEEDS}


def test_blocks_are_in_languages_that_are_checked() -> None:
    """Text is what a reader sees and not what is run; diagrams are drawn from the code."""
    found = set[str]().union(*(languages(path) for path in DOCUMENTS))
    assert found <= {"bash", "python", "yaml", "text", "mermaid"}
    # The stage is tried in tests/unit/site/test_worked_examples.py, the override below.
    written = {path.name for path in DOCUMENTS if "yaml" in languages(path)}
    assert written == {"add-stage.md", "team-server.md"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_block_is_indented_instead_of_fenced(path: Path) -> None:
    """An indented block has no language and no mark, so that no test would execute it."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert re.findall(r"\n\n {4}(?![ \-*|]|\d+\.)(.+)", text) == []


def test_the_override_of_the_team_server_names_services_of_its_compose_file() -> None:
    yaml = YAML(typ="safe")
    (block,) = blocks_in(ROOT / "docs" / "team-server.md", "yaml")
    services = yaml.load(ROOT / "infra" / "compose" / "compose.yaml")["services"]
    override = yaml.load(block)["services"]
    assert set(override) == {name for name in services if name.startswith("worker-")}
    assert all(set(service) == {"volumes"} for service in override.values())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (path.parent / link).exists(), link


def test_names_in_the_fidelity_tables_exist_in_their_files() -> None:
    rows = [line for line in _text("docs/fidelity.md").splitlines() if line.startswith("| ")]
    checked = 0
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) != 5 or ".py`" not in cells[3]:
            continue
        files = re.findall(r"`([\w/]+\.py)`", cells[3])
        sources = "".join((ROOT / "mambatalk" / file).read_text() for file in files)
        names = re.findall(r"`([A-Za-z_.]+)`", cells[3])
        for name in names:
            if not name.endswith(".py"):
                assert name.rpartition(".")[2] in sources, f"{name} in {files}"
                checked += 1
    assert checked > 20


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_names_and_files_in_the_guides_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```.*?^```$", text, flags=re.M | re.S))
    sources = [
        file
        for folder in ("mambatalk", "tasks", "tests")
        for file in (ROOT / folder).rglob("*.py")
        # This file and the guides' own tests would make any name exist.
        if file.name not in ("test_documents.py", "test_worked_examples.py")
    ]
    code = "".join(file.read_text(encoding="utf-8") for file in sources)
    code += (ROOT / "dvc.yaml").read_text(encoding="utf-8") + blocks
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    for name in (span for span in spans if re.match(r"(mambatalk|tasks|tests|infra)/", span)):
        # The module of the new stage is written by its guide.
        assert (ROOT / name).exists() or f"- {name}\n" in blocks, name
    for name in (span for span in spans if re.fullmatch(r"[A-Za-z_]{4,}", span)):
        assert re.search(rf"\b{name}\b", code), name
    assert spans


def test_the_page_of_files_lists_every_output_with_its_stage() -> None:
    """Outputs that DVC keeps are in its first table, and those in git in the second."""
    large, _, small = _text("docs/files.md").partition("## Small results in git")
    for name, stage in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].items():
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind, []):
                path, settings = next(iter(out.items())) if isinstance(out, dict) else (out, {})
                page = large if settings.get("cache", True) else small
                listed = re.escape(path.replace("${item.part}", "PART"))
                assert re.search(rf"^\| `{listed}` \| .* \| {name} \|", page, re.MULTILINE), path


def test_the_page_of_files_names_the_columns_of_decisions() -> None:
    columns = ", ".join(f"`{name}`" for name in COLUMNS)
    assert f"{columns} |" in _text("docs/files.md")


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
