"""Which MLflow runs are kept."""

from datetime import UTC, datetime, timedelta

from mlflow.entities import Run, RunData, RunInfo, RunStatus, RunTag

from infra.retention import needed_runs

LIMIT = datetime(2026, 6, 1, tzinfo=UTC)
OLD = int((LIMIT - timedelta(days=1)).timestamp() * 1000)
YOUNG = int((LIMIT + timedelta(days=1)).timestamp() * 1000)


def run(name: str, *, end: int | None = OLD, start: int = OLD, **tags: str) -> Run:
    info = RunInfo(
        run_id=name,
        experiment_id="0",
        user_id="",
        status=RunStatus.to_string(RunStatus.FINISHED),
        start_time=start,
        end_time=end,
        lifecycle_stage="active",
    )
    named = {key.replace("run_", "run."): value for key, value in tags.items()}
    return Run(info, RunData(tags=[RunTag(key, value) for key, value in named.items()]))


def kept(*runs: Run, versions: list[dict[str, str]]) -> set[str]:
    return set(needed_runs(list(runs), versions, LIMIT))


def test_young_runs_and_runs_at_work_are_kept() -> None:
    runs = [run("old"), run("young", end=YOUNG), run("at work", end=None, start=YOUNG)]
    assert kept(*runs, versions=[]) == {"young", "at work"}


def test_a_run_that_was_killed_grows_old_too() -> None:
    assert kept(run("killed", end=None), versions=[]) == set()


def test_a_registered_version_keeps_its_build_and_all_stages_of_it() -> None:
    runs = [
        run("register"),
        run("build", dvc_lock_digest="abc", run_train_generator="training"),
        run("training"),
        run("other build", dvc_lock_digest="def", run_train_generator="other training"),
        run("other training"),
    ]
    version = {"run_id": "register", "dvc_lock_digest": "abc"}
    assert kept(*runs, versions=[version]) == {"register", "build", "training"}


def test_a_young_build_keeps_the_old_run_of_a_stage_that_was_skipped() -> None:
    runs = [run("build", end=YOUNG, run_features="features"), run("features")]
    assert kept(*runs, versions=[]) == {"build", "features"}


def test_versions_without_tags_keep_no_run_without_tags() -> None:
    """A version that was registered by hand has none."""
    assert kept(run("old"), versions=[{}]) == set()
