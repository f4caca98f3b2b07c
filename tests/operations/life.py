"""The life of a registered model: steps that one case takes in this order.

Retrainings run on the case's worker; what a person does is a command.
"""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from flows.stages import dvc_command
from flows.worktrees import git
from tests.operations.registered import STAGES, commit_recipe
from tests.operations.workers import ROOT, Case


def first_model(case: Case) -> None:
    """The first model only has to pass the absolute rules."""
    found = retrain(case, "Promoted")
    assert f"; {STAGES} of {STAGES} stages ran; There is no champion yet" in found
    assert aliases(case) == {"champion": "1"}


def nothing_new(case: Case) -> None:
    """A retraining of unchanged inputs does nothing, and says so."""
    (branch,) = case.project.branches()
    before = registry(case)
    found = retrain(case, "Unchanged")
    assert f"same results as {branch}; 0 of {STAGES} stages ran" in found
    assert "version 1 stays the champion" in found
    assert case.project.branches() == [branch]
    assert registry(case) == before


def added_data(case: Case) -> None:
    """With more clips the stages after them run again, and the gate lets a better model pass."""
    commit_recipe(case.project, clips=2, noise=0.0)
    found = retrain(case, "Promoted")
    assert f"; 2 of {STAGES} stages ran; It is better than the champion" in found
    assert aliases(case) == {"champion": "2", "previous": "1"}


def rollback(case: Case) -> None:
    """A person returns to the previous champion, at the second try if MLflow is away."""
    command = ("flows.rollback", "--reason", "the hands shake")
    check_refused_without_mlflow(case, *command)
    done = run(case, *command)
    assert done.returncode == 0, done.stderr
    assert "version 1 is the champion, and not 2" in done.stdout
    assert aliases(case) == {"champion": "1"}


def promotion(case: Case) -> None:
    """A person promotes a version that was rolled back, at the second try if MLflow is away."""
    build_newest_proposal(case)
    command = ("flows.promote", "--root", str(case.project.root), "--version", "2")
    check_refused_without_mlflow(case, *command)
    done = run(case, *command)
    assert done.returncode == 0, done.stderr
    assert "promote: It is better than the champion" in done.stdout
    assert aliases(case) == {"champion": "2", "previous": "1"}


def worse_model(case: Case) -> None:
    """A worse model is rejected, once MLflow is there to register it; the champion stays."""
    commit_recipe(case.project, noise=0.4)
    before = registry(case)
    case.mlflow.down()
    found = retrain(case, "Failed")
    case.mlflow.up()
    assert "tasks.registry failed (config): model registry" in found
    assert registry(case) == before

    # What was built is not built again.
    found = retrain(case, "Rejected")
    assert f"; 0 of {STAGES} stages ran; It fails: " in found
    rejected = aliases(case)
    assert rejected == {"champion": "2", "previous": "1", "challenger": "3"}
    # The proposal is there for a person who wants to look at it.
    assert len(case.project.branches()) == 3

    assert "the gate has decided about version 3 before: reject" in retrain(case, "Unchanged")
    assert aliases(case) == rejected


STEPS: dict[str, Callable[[Case], None]] = {
    "first-model": first_model,
    "nothing-new": nothing_new,
    "added-data": added_data,
    "rollback": rollback,
    "promotion": promotion,
    "worse-model": worse_model,
}


def retrain(case: Case, state: str) -> str:
    """Run a retraining that ends in a state; return the state's message."""
    found = case.check_ended(case.api.start(case.deployment), state)
    return str(found["state"]["message"])


def registry(case: Case) -> dict[str, Any]:
    """Return everything that MLflow knows of the registered model, its history included."""
    return dict(case.ask_mlflow("GET", "registered-models/get", name="mambatalk"))


def aliases(case: Case) -> dict[str, str]:
    """Return the aliases of the registered model, with their versions."""
    found = registry(case)["registered_model"].get("aliases", [])
    return {alias["alias"]: alias["version"] for alias in found}


def run(case: Case, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=case.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def check_refused_without_mlflow(case: Case, *command: str) -> None:
    """Verify that a command without MLflow is one line, fails, and changes nothing."""
    before = registry(case)
    case.mlflow.down()
    done = run(case, *command)
    case.mlflow.up()
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert f"model registry {case.mlflow.uri}: expected an answer" in line
    assert "the champion is unchanged, and the command can be repeated" in line
    assert registry(case) == before


def build_newest_proposal(case: Case) -> None:
    """Merge the newest proposal, and fetch what it was built to, as a person does."""
    root = case.project.root
    newest = ("for-each-ref", "--sort=-committerdate", "--count=1", "--format=%(refname)")
    git(root, "merge", "--quiet", "--ff-only", git(root, *newest, "refs/heads/retrain/").strip())
    command = dvc_command("checkout", "--quiet")
    subprocess.run(command, cwd=root, check=True, env={**case.environment, "PYTHONPATH": str(ROOT)})
