"""Imports follow the order of packages: flows -> tasks -> mambatalk, and inside the library.

The order is the import-linter configuration in pyproject.toml; `make lint` checks it as well.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("mambatalk", "tasks", "flows", "infra")
COMMAND = Path(sys.executable).with_name("lint-imports")


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "--no-cache"], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )


def test_imports_follow_the_order_of_packages() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project's Python files."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("mambatalk/quality/rules/rule.py", "mambatalk.cli"),
        ("mambatalk/files.py", "mambatalk.motion.skeleton"),
        ("mambatalk/synthesis/bundle.py", "tasks.bundle"),
        ("mambatalk/training/loop/train.py", "mlflow"),
        ("mambatalk/cli/data.py", "great_expectations"),
        ("tasks/ingest.py", "flows.build"),
        ("tasks/ingest.py", "prefect"),
    ],
)
def test_a_wrong_import_is_reported(project: Path, module: str, imported: str) -> None:
    """Also inside a function, where it runs only when the function is called."""
    path = project / module
    path.write_text(path.read_text() + f"\n\ndef lazy() -> None:\n    import {imported}\n")
    done = lint_imports(project)
    assert done.returncode == 1
    assert imported in done.stdout


def test_a_package_without_a_place_in_the_order_is_reported(project: Path) -> None:
    package = project / "mambatalk" / "somewhere"
    package.mkdir()
    (package / "__init__.py").touch()
    done = lint_imports(project)
    assert done.returncode == 1
    assert "somewhere" in done.stdout
