"""`mambatalk serve`: what is wrong with its files is said before it listens."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mambatalk.cli import app
from mambatalk.errors import InputError
from tests.helpers.tiny_bundle import tiny_bundle


def test_a_file_that_is_no_body_model_is_reported_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listen(*_: object, **__: object) -> None:
        pytest.fail("it listens")

    monkeypatch.setattr("mambatalk.serving.service.run_service", listen)
    tiny_bundle().save(tmp_path / "bundle")
    body = tmp_path / "SMPLX_NEUTRAL_2020.npz"
    body.write_bytes(b"no archive")
    arguments = ["serve", "--bundle", tmp_path / "bundle", "--body", body]
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(result.exception, InputError), result.output
    assert str(result.exception).startswith(f"{body}: ")
