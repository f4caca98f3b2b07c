"""Keep `dvc.yaml` honest: the code that each stage depends on, from what its module imports.

`python -m tasks.tools.graph` says where `dvc.yaml` and the imports differ (exit 1 if they do); `--write`
mends it. Only paths of Python files are touched: data, parameters and outputs are written by hand.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOMS = ("mambatalk", "tasks")


@cache
def imported_files(path: Path) -> frozenset[Path]:
    """Project files that one file imports directly, lazy imports inside functions included,
    type-only ones not.

    Args:
        path: Python file, relative to the repository root (the working directory).

    Returns:
        Paths relative to the root; the `__init__.py` of every package on the way belongs to them.

    """
    names = set(_names(ast.parse(path.read_text(encoding="utf-8"))))
    return frozenset(file for name in names for file in _files(name))


def closure(path: Path) -> frozenset[Path]:
    """`path` and every project file it imports, directly or through others."""
    seen: set[Path] = set()
    waiting = {path, *_files(".".join(path.with_suffix("").parts))}
    while waiting:
        file = waiting.pop()
        seen.add(file)
        waiting |= imported_files(file) - seen
    return frozenset(seen)


def _names(node: ast.AST) -> Iterator[str]:
    """Dotted names that the code under `node` may import; `from a import b` gives `a` and `a.b`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _names(other)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from _names(child)


def _files(name: str) -> Iterator[Path]:
    parts = name.split(".")
    if parts[0] not in ROOMS:
        return
    for length in range(1, len(parts) + 1):
        stem = Path(*parts[:length])
        yield from (
            file for file in (stem / "__init__.py", stem.with_suffix(".py")) if file.is_file()
        )


def stage_module(cmd: str) -> Path:
    """Module behind a stage's command: `python -m tasks.train_vq face` gives tasks/train_vq.py."""
    words = cmd.split()
    return Path(*words[words.index("-m") + 1].split(".")).with_suffix(".py")


def mend(stages: dict[str, Any]) -> list[str]:
    """Make the Python files among each stage's deps its import closure, in place; return one line
    per difference.
    """
    lines = []
    for name, stage in stages.items():
        module = stage_module(stage["cmd"])
        if not module.exists():
            lines.append(f"{name}: {module} does not exist")
            continue
        held = [dep for dep in stage["deps"] if dep.endswith(".py")]
        wanted = sorted(file.as_posix() for file in closure(module))
        lines += [
            f"{name}: {dep} is imported, but no dependency" for dep in wanted if dep not in held
        ]
        lines += [
            f"{name}: {dep} is a dependency, but not imported" for dep in held if dep not in wanted
        ]
        if set(held) != set(wanted):
            others = [dep for dep in stage["deps"] if not dep.endswith(".py")]
            stage["deps"].clear()
            stage["deps"].extend([*wanted, *others])
    return lines


def main(path: Path = Path("dvc.yaml")) -> int:
    """Compare, or mend with `--write`."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 120, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    graph = yaml.load(path)
    # A stage of a matrix has the same shape as any other.
    lines = mend(graph["stages"])
    sys.stdout.writelines(f"{line}\n" for line in lines)
    if "--write" in sys.argv[1:] and lines:
        yaml.dump(graph, path)
        return 0
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
