"""The life of a registered model: steps that one case takes in this order.

Retrainings run on the case's worker; what a person does is a command.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flows.stages import dvc_command
from flows.worktrees import git
from tests.operations.registered import STAGES, commit_recipe
from tests.operations.workers import ROOT, Case, kill, wait_until


def first_model(case: Case) -> None:
    """The first model only has to pass the absolute rules."""
    found = retrain(case, "Promoted")
    assert f"; {STAGES} of {STAGES} stages ran; There is no champion yet" in found
    assert aliases(case) == {"champion": "1"}
    case.api.wait_for_alert("promote: Promoted", "There is no champion yet")


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
    check_decision(case, "2", "promote")


def rollback(case: Case) -> None:
    """A person returns to the previous champion, at the second try if MLflow is away."""
    command = ("flows.rollback", "--reason", "the hands shake")
    check_refused_without_mlflow(case, *command)
    done = run(case, *command)
    assert done.returncode == 0, done.stderr
    assert "version 1 is the champion, and not 2" in done.stdout
    assert aliases(case) == {"champion": "1"}
    case.api.wait_for_alert("rollback: Completed", "the hands shake")


def refusal(case: Case) -> None:
    """The gate would promote, a person looks at it and says no, and the champion stays."""
    build_newest_proposal(case)
    command = ("flows.promote", "--root", str(case.project.root), "--version", "2")
    check_refused_without_mlflow(case, *command)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, case, *command, "--approve", "--approval-hours", "0.1")
        answer(case, approve=False, reason="the left hand is stiff")
        done = running.result()
    assert done.returncode == 1, done.stderr
    assert "reject: A person did not approve: the left hand is stiff" in done.stdout
    assert aliases(case) == {"champion": "1"}


def approval(case: Case) -> None:
    """A run on the worker waits for a person, and promotes the version after the approval."""
    parameters = {"root": str(case.project.root), "version": "2", "approve": True}
    deployment = case.api.deploy("approval", case.name, parameters, flow="promote")
    started = case.api.start(deployment)
    answer(case, approve=True, reason="looks alive")
    found = case.check_ended(started, "Promoted")
    assert "It is better than the champion" in found["state"]["message"]
    assert aliases(case) == {"champion": "2", "previous": "1"}
    tags = registry(case)["registered_model"]["tags"]
    last = json.loads(max(tags, key=lambda tag: str(tag["key"]))["value"])
    assert (last["action"], last["operation"]) == ("promote", started)
    assert "Approved by a person. looks alive" in last["why"]


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


def killed_before_the_gate(case: Case) -> None:
    """A run that is killed between registration and decision ends as any other.

    Its second part finds what was built, pushed, proposed and registered.
    """
    commit_recipe(case.project, noise=0.5)
    before = aliases(case)
    replace_worker(case, slow="tasks.gate")
    run = case.api.start(case.deployment)
    wait_until(
        lambda: any("tasks.gate" in process.cmdline() for process in case.processes()),
        "the gate to begin",
        log=case.log,
    )
    kill(case.engine(run))
    case.api.wait(run, "Crashed")
    replace_worker(case)
    found = case.check_ended(run, "Rejected")
    assert found["run_count"] == 2
    assert f"; 0 of {STAGES} stages ran; It fails: " in found["state"]["message"]
    assert aliases(case) == before | {"challenger": "4"}
    assert len(case.project.branches()) == 4


def replace_worker(case: Case, slow: str = "") -> None:
    """End the worker, and start one whose runs are delayed by `slow` (see `Case`)."""
    case.workers[-1].terminate()
    case.workers[-1].wait()
    case.slow = slow
    case.start_worker()


STEPS: dict[str, Callable[[Case], None]] = {
    "first-model": first_model,
    "nothing-new": nothing_new,
    "added-data": added_data,
    "rollback": rollback,
    "refusal": refusal,
    "approval": approval,
    "worse-model": worse_model,
    "killed-before-the-gate": killed_before_the_gate,
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


def answer(case: Case, *, approve: bool, reason: str) -> None:
    """Wait until a flow run asks for approval, and answer as a person does on its page."""
    wanted = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}
    (paused,) = wait_until(
        lambda: case.api.request("POST", "/flow_runs/filter", wanted),
        "a run that waits for approval",
        every=2,
        log=case.log,
    )
    case.api.wait_for_alert("promote: Paused")
    assert aliases(case) == {"champion": "1"}
    given = {"run_input": {"approve": approve, "reason": reason}}
    case.api.request("POST", f"/flow_runs/{paused['id']}/resume", given)


def check_decision(case: Case, version: str, verdict: str) -> None:
    """Verify that Prefect and MLflow keep the last decision, with every rule."""
    wanted = {"artifacts": {"key": {"any_": ["promotion"]}}}
    (table,) = case.api.request("POST", "/artifacts/latest/filter", wanted)
    assert table["data"].startswith(f"**{verdict}** version {version} against version 1: ")

    found = case.ask_mlflow("GET", "model-versions/get", name="mambatalk", version=version)
    tags = {tag["key"]: tag["value"] for tag in found["model_version"]["tags"]}
    kept = case.ask_mlflow("GET", "artifacts/list", run_id=tags["gate_run_id"])
    assert {file["path"] for file in kept["files"]} == {"decision.json", "index.html"}
    written = case.project.root / "runs/retrain/scratch/promotion/decision.json"
    decision = json.loads(written.read_text())
    assert (decision["verdict"], decision["version"]) == (verdict, version)
    for rule in decision["rules"]:
        assert f"| {rule['name']} | {rule['status']} |" in table["data"]


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
    """Merge the newest proposal, and check out its results, as a person does."""
    root = case.project.root
    newest = ("for-each-ref", "--sort=-committerdate", "--count=1", "--format=%(refname)")
    git(root, "merge", "--quiet", "--ff-only", git(root, *newest, "refs/heads/retrain/").strip())
    command = dvc_command("checkout", "--quiet")
    subprocess.run(command, cwd=root, check=True, env={**case.environment, "PYTHONPATH": str(ROOT)})
