"""A command whose packages are not installed names the extra to install."""

import sys
from pathlib import Path

import pytest

from mambatalk import cli

REQUIREMENTS = [
    "numpy<2.5,>=2.2",
    'pandas<4,>=2.3; extra == "data"',
    'huggingface-hub<3,>=2.4; extra == "data"',
]


def test_the_message_names_package_and_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli, "requires", lambda name: REQUIREMENTS)
    monkeypatch.setattr(sys, "argv", ["mambatalk", "check", str(tmp_path)])
    monkeypatch.setitem(sys.modules, "pandas", None)
    # Another test may have imported the modules that import pandas.
    for name in [*sys.modules]:
        if name.startswith("mambatalk.quality."):
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 2
    message = capsys.readouterr().err
    assert "package pandas" in message
    assert "pip install 'mambatalk[data]'" in message


@pytest.mark.parametrize(
    ("module", "extra"),
    [("huggingface_hub.utils", "data"), ("numpy", None), ("no_such_package", None)],
)
def test_only_packages_of_extras_are_found(
    monkeypatch: pytest.MonkeyPatch, module: str, extra: str | None
) -> None:
    monkeypatch.setattr(cli, "requires", lambda name: REQUIREMENTS)
    assert cli.extra_with(module) == extra
