"""One MLflow run leads to every stage, metric and model of a build, and the models can predict."""

import json
import sys
from pathlib import Path

import pytest

from tests.pipeline.test_repro import ALL, PARTS
from tests.pipeline.workspace import Workspace

pytestmark = pytest.mark.xdist_group("built")
QUERY = """
import json, mlflow
from tasks.tracking.store import connect
client, experiment = connect()
(parent,) = client.search_runs([experiment], "tags.stage = 'pipeline'")
tags = parent.data.tags
runs = {key[4:]: client.get_run(value) for key, value in tags.items() if key.startswith("run.")}
answers = {}
for model in client.search_logged_models([experiment]):
    loaded = mlflow.pyfunc.load_model(model.model_uri)
    outputs = loaded.predict(loaded.input_example)
    answers[model.name] = {
        "run": model.source_run_id,
        "out": {key: list(array.shape) for key, array in outputs.items()},
        "in": loaded.metadata.signature.inputs.input_names(),
        "pickled": loaded.metadata.flavors["python_function"].get("python_model"),
    }
found = {
    name: {
        "tags": run.data.tags,
        "params": run.data.params,
        "metrics": run.data.metrics,
        "id": run.info.run_id,
        "status": run.info.status,
    }
    for name, run in runs.items()
}
print(json.dumps({"tags": tags, "runs": found, "models": answers}))
"""


@pytest.fixture(scope="module")
def store(built: Workspace) -> dict:
    done = built.run(sys.executable, "-c", QUERY)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_stage_is_found_from_the_pipeline_run(store: dict) -> None:
    assert set(store["runs"]) == set(ALL)
    assert {run["status"] for run in store["runs"].values()} == {"FINISHED"}


def test_tags_lead_from_a_metric_to_its_origin(store: dict, built: Workspace) -> None:
    snapshot = json.loads(built.read("data/sample/snapshot.json"))["digest"]
    for name, run in store["runs"].items():
        assert run["tags"]["stage"] == name
        assert len(run["tags"]["stage_fingerprint"]) == 64
        assert len(run["tags"]["git_commit"]) == 40
        assert run["tags"]["seed"] == "2021"
        if name != "prepare":
            assert run["tags"]["snapshot_digest"] == snapshot
    assert len(store["tags"]["dvc_lock_digest"]) == 64
    assert store["runs"]["train_generator"]["params"]["train_generator.lr"] == "0.001"
    evaluated = json.loads(built.read("metrics/metrics.json"))["rows"]["model"]["mse"]["corrected"]
    assert store["runs"]["evaluate"]["metrics"]["model.mse.corrected"] == pytest.approx(evaluated)


def test_all_models_predict_without_pickle(store: dict) -> None:
    models = store["models"]
    assert set(models) == {*PARTS, "fgd_encoder", "generator", "bundle"}
    for part in PARTS:
        assert models[part]["run"] == store["runs"][f"train_vq@{part}"]["id"]
    assert models["fgd_encoder"]["out"]["features"][:2] == [2, 4]
    assert set(models["generator"]["out"]) == {"face", "upper", "hands", "lower"}
    assert models["bundle"]["in"] == ["waveform", "speaker_id"]
    assert models["bundle"]["out"] == {
        "poses": [30, 165],
        "expressions": [30, 100],
        "trans": [30, 3],
    }
    assert {model["pickled"] for model in models.values()} == {None}


def test_mlflow_stores_the_weights_of_the_build(store: dict, built: Workspace) -> None:
    home = Path(built.env["MAMBATALK_HOME"])
    ours = built.read("models/vq/face/face.safetensors")
    assert ours in [path.read_bytes() for path in home.rglob("face.safetensors")]
    assert not [path for path in home.rglob("*") if path.suffix in (".pkl", ".pickle")]
