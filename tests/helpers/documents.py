"""Read the shell commands and the Python code of README and docs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    ROOT / "tests" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
)

_BLOCK = re.compile(r"^```(\S*) ?(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
_INLINE = re.compile(r"`((?:make|mambatalk|dvc|python -m|pytest) [^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block of shell commands.

    Args:
        document: Path relative to the repository.
        number: Position among the document's shell blocks, from 1.
        needs: The mark after the language, or "".
        commands: Commands without comments, one per line.

    """

    document: str
    number: int
    needs: str
    commands: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.document}#{self.number}"


def shell_blocks(path: Path) -> list[Block]:
    """Read the shell blocks of a Markdown document.

    Raises:
        ValueError: A block names no language; "text" marks blocks that are not executed.

    """
    name = path.relative_to(ROOT).as_posix()
    blocks = []
    for language, mark, body in _BLOCK.findall(path.read_text(encoding="utf-8")):
        if not language:
            raise ValueError(f"{name}: a block names no language: {body.splitlines()[0]}")
        if language == "bash":
            commands = tuple(_without_comment(line) for line in body.splitlines() if line.strip())
            blocks.append(Block(name, len(blocks) + 1, mark, commands))

    return blocks


def python_blocks(path: Path) -> list[tuple[str, str]]:
    """Read the Python blocks of a Markdown document: the mark after the language, and the code."""
    found = _BLOCK.findall(path.read_text(encoding="utf-8"))
    return [(mark, body) for language, mark, body in found if language == "python"]


def blocks_in(path: Path, language: str) -> list[str]:
    """Read the blocks of a Markdown document that are written in one language."""
    found = _BLOCK.findall(path.read_text(encoding="utf-8"))
    return [body for name, _, body in found if name == language]


def languages(path: Path) -> set[str]:
    """Return the languages of the blocks of a Markdown document."""
    return {name for name, _, _ in _BLOCK.findall(path.read_text(encoding="utf-8"))}


def inline_commands(path: Path) -> Iterator[str]:
    """Yield the commands that a document names within its sentences and tables."""
    text = _BLOCK.sub("", path.read_text(encoding="utf-8"))
    for command in _INLINE.findall(text):
        yield " ".join(command.split())


def _without_comment(line: str) -> str:
    return re.sub(r"\s+# .*$", "", line).strip()
