"""Bootstrap and servers that it must not touch; tests/operations runs it on real ones."""

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from infra.bootstrap import bootstrap
from mambatalk.errors import InputError
from tests.helpers.answering import answering


def test_a_server_of_another_version_is_refused() -> None:
    with (
        answering({"/api/admin/version": '"3.1.0"'}) as address,
        temporary_settings({PREFECT_API_URL: f"{address}/api"}),
        pytest.raises(InputError, match=r"found 3\.1\.0") as caught,
    ):
        bootstrap("process")
    assert "\n" not in str(caught.value)


def test_a_server_that_is_away_is_reported_in_one_line() -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(InputError, match="start the server, or correct PREFECT_API_URL") as caught,
    ):
        bootstrap("process")
    assert "\n" not in str(caught.value)
