"""The rooms of the repository: imports go flows -> tasks -> mambatalk and never back."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "mambatalk": {"prefect", "dvc", "mlflow", "great_expectations", "tasks", "flows"},
    "tasks": {"prefect", "flows"},
    "flows": set(),
}
MODULES = [path for room in FORBIDDEN for path in sorted((ROOT / room).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    given = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    # importlib.import_module("prefect") and __import__("prefect") count too.
    called = {
        node.args[0].value
        for node in nodes
        if isinstance(node, ast.Call)
        and node.args
        and ast.unparse(node.func).endswith(("import_module", "__import__"))
        and isinstance(node.args[0], ast.Constant)
    }
    return {str(name).split(".")[0] for name in plain | given | called}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_stay_in_their_room(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert imported(path) & FORBIDDEN[room] == set()


def test_no_relative_imports() -> None:
    """The closure behind dvc.yaml follows absolute names only."""
    offenders = [
        path
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert offenders == []


def test_the_check_sees_lazy_imports(tmp_path: Path) -> None:
    module = tmp_path / "lazy.py"
    module.write_text(
        "def f():\n    from dvc.repo import Repo\n    import importlib\n"
        "    importlib.import_module('prefect.flows')\n"
    )
    assert {"dvc", "prefect"} <= imported(module)
