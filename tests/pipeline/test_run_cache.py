"""DVC's run cache: a configuration that was built before is restored, and no stage runs."""

from collections.abc import Iterator

import pytest

from tests.pipeline.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("built")]
# The shortest training, without the stages after it.
STAGE = "train_fgd_encoder"
OTHER_RATE = 2e-3
RESULTS = (f"metrics/{STAGE}.json", f"plots/{STAGE}.csv", "models/fgd/fgd_encoder.safetensors")


def results(workspace: Workspace) -> list[bytes]:
    return [workspace.read(name) for name in RESULTS]


def restore(workspace: Workspace) -> None:
    workspace.git("checkout", "--", ".")
    assert workspace.dvc("checkout").returncode == 0


@pytest.fixture(scope="module")
def other(built: Workspace) -> list[bytes]:
    """Results of a configuration that has been built and then left."""
    built.set_params(train_fgd_encoder__lr=OTHER_RATE)
    done = built.dvc("repro", STAGE)
    assert f"Running stage '{STAGE}'" in done.stdout
    after = results(built)
    restore(built)
    assert results(built) != after
    return after


@pytest.fixture
def workspace(built: Workspace) -> Iterator[Workspace]:
    """The shared build, which is restored after the test."""
    yield built
    built.dvc("exp", "remove", "--all-commits")
    restore(built)


def test_setting_a_parameter_back_restores_the_earlier_result(
    workspace: Workspace, other: list[bytes]
) -> None:
    first = results(workspace)
    params = workspace.read("params.yaml")
    workspace.set_params(train_fgd_encoder__lr=OTHER_RATE)
    there = workspace.dvc("repro", STAGE)
    assert f"'{STAGE}' is cached" in there.stdout
    assert "Running stage" not in there.stdout
    assert results(workspace) == other

    (workspace.root / "params.yaml").write_bytes(params)
    back = workspace.dvc("repro", STAGE)
    assert "Running stage" not in back.stdout
    assert results(workspace) == first


def test_an_experiment_with_a_known_configuration_runs_no_stage(
    workspace: Workspace, other: list[bytes]
) -> None:
    done = workspace.dvc("exp", "run", "-S", f"{STAGE}.lr={OTHER_RATE}", STAGE)
    assert done.returncode == 0, done.stderr
    assert "Running stage" not in done.stdout
    assert results(workspace) == other
