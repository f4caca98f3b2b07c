"""The public API in `mambatalk/__init__.py`."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

import pytest

import mambatalk


@pytest.mark.parametrize("name", mambatalk.__all__)
def test_every_public_name_is_imported_on_first_use(name: str) -> None:
    assert getattr(mambatalk, name).__name__ == name
    assert name in dir(mambatalk)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mambatalk' has no attribute 'Model'"):
        mambatalk.Model  # type: ignore[attr-defined]  # noqa: B018


def test_the_version_is_the_installed_one() -> None:
    assert mambatalk.__version__ == version("mambatalk")


def test_a_checkout_that_is_not_installed_has_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads name the version."""

    def missing(name: str) -> NoReturn:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert mambatalk.__version__ == "0.0.0"


def test_the_package_itself_imports_nothing_heavy() -> None:
    code = "import sys, mambatalk; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "numpy", "pyarrow", "librosa", "scipy"} & set(loaded)
