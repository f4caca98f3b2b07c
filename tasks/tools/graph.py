"""Check the code dependencies in `dvc.yaml` against the imports: `python -m tasks.tools.graph`.

A stage depends on the folders of the packages it computes with. They are written by hand and
checked here: everything that a stage imports, directly or through other modules, must be under one
of its dependencies or in `PLUMBING`, and the stage must import something of every dependency.
Imports inside functions count; imports for type checkers do not.
"""

import ast
import sys
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from ruamel.yaml import YAML

from tasks.runtime.command import run_command

if TYPE_CHECKING:
    from grimp import ImportGraph

PACKAGES: Final = ("mambatalk", "tasks")
PLUMBING: Final = (
    # Public names, each loaded when it is first used.
    "mambatalk/__init__.py",
    # Parameters are tracked by their values, not by the code that reads them.
    "mambatalk/config.py",
    # How progress is shown, errors are reported, work is spread over processes, files and weights
    # are stored.
    "mambatalk/console.py",
    "mambatalk/errors.py",
    "mambatalk/executors.py",
    "mambatalk/files.py",
    "mambatalk/models/storage.py",
    # The style of pages. Only the stage `report`, which nothing depends on, declares it.
    "mambatalk/reporting",
    # How a stage runs and what it records.
    "mambatalk/training/context.py",
    "tasks/__init__.py",
    "tasks/runtime",
    "tasks/tracking",
)
"""Code that stages import and that does not change what they compute: no stage depends on it.

A wrong entry here lets a stage keep a stale result, so that an entry needs a reason. Random seeds,
devices and deterministic algorithms (`mambatalk/runtime.py`) do change results and are not here.
"""


def stage_module(command: str) -> str:
    """Return the module of a stage's command: tasks.train_vq of `python -m tasks.train_vq face`."""
    words = command.split()
    return words[words.index("-m") + 1]


def imported_files(module: str) -> frozenset[Path]:
    """List the project's files that a module runs when it and all its lazy imports are loaded.

    Imports of plumbing are not followed: what it loads for its own use, such as the type of a
    parameter, is not what the stage computes with. The working directory must be the root of the
    repository, and first on `sys.path`.

    Args:
        module: Dotted name, such as "tasks.train_vq".

    Returns:
        Paths relative to the root: the module, what it imports directly or through others, and
        every package's `__init__.py` on the way that holds more than a docstring.

    """
    graph = _import_graph()
    modules: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        modules.add(name)
        if not _is_plumbing(_source_file(name)):
            waiting |= graph.find_modules_directly_imported_by(name) - modules
    ancestors = {parent for name in modules for parent in _parents(name)}
    files = {_source_file(name) for name in modules | ancestors}
    return frozenset(file for file in files if not _is_docstring_only(file))


def find_differences(stages: dict[str, Any]) -> list[str]:
    """Compare declared code dependencies with imports.

    Args:
        stages: The section `stages` of `dvc.yaml`.

    Returns:
        One line per difference.

    """
    lines = []
    used = set()
    for name, stage in stages.items():
        module = stage_module(stage["cmd"])
        if not _source_file(module).exists():
            lines.append(f"{name}: expected a module {module}, found none")
            continue
        imported = imported_files(module)
        declared = [Path(entry) for entry in stage["deps"] if entry.startswith(PACKAGES)]
        used |= {
            entry for entry in PLUMBING if any(_covers(Path(entry), file) for file in imported)
        }
        lines += _stage_differences(name, imported, declared)
    lines += [
        f"PLUMBING in tasks/tools/graph.py: no stage imports {entry}; remove it"
        for entry in PLUMBING
        if entry not in used
    ]
    return lines


def _stage_differences(
    stage: str, imported: Collection[Path], declared: Collection[Path]
) -> list[str]:
    allowed = [*declared, *map(Path, PLUMBING)]
    lines = []
    for file in sorted(imported):
        if not any(_covers(path, file) for path in allowed):
            missing = file if file.parent.name in PACKAGES else file.parent
            lines.append(
                f"{stage}: imports {file}, which no dependency covers; add {missing} to its deps"
            )
    for path in declared:
        if not any(_covers(path, file) for file in imported):
            lines.append(f"{stage}: depends on {path}, but does not import it; remove it")
        if any(_covers(other, path) for other in declared if other != path):
            lines.append(f"{stage}: depends on {path} and on a folder above it; remove one")
    return lines


@cache
def _import_graph() -> "ImportGraph":
    # grimp rather than our own walk over the syntax trees: equal results for all 13 stages
    # (lazy imports included), 0.06 s instead of 0.7 s.
    import grimp

    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def _parents(module: str) -> list[str]:
    """Return the packages around a module: a.b.c gives a and a.b."""
    words = module.split(".")
    return [".".join(words[:length]) for length in range(1, len(words))]


def _source_file(module: str) -> Path:
    """Return the file of a module or a package."""
    path = Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_docstring_only(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return path.name == "__init__.py" and all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree.body
    )


def _is_plumbing(file: Path) -> bool:
    return any(_covers(Path(entry), file) for entry in PLUMBING)


def _covers(path: Path, file: Path) -> bool:
    return file.is_relative_to(path)


def check() -> None:
    """Print where `dvc.yaml` and the imports differ; exit with 1 if they do."""
    stages = YAML(typ="safe", pure=True).load(Path("dvc.yaml"))["stages"]
    lines = find_differences(stages)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    raise typer.Exit(1 if lines else 0)


if __name__ == "__main__":
    run_command(check, "tasks.tools.graph", __doc__)
