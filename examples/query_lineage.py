"""Say where the newest builds' metrics come from: `python examples/query_lineage.py`.

Reads MLflow: the server of MLFLOW_TRACKING_URI, or the database that builds on this machine use.
"""

import os

import mlflow

from tasks.tracking.store import EXPERIMENT, local_store

mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI") or local_store())
builds = mlflow.search_runs(
    experiment_names=[os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT],
    filter_string="tags.stage = 'pipeline'",
    order_by=["attributes.start_time DESC"],
    max_results=5,
    output_format="list",
)
for build in builds:
    tags = build.data.tags
    print(build.info.run_name)
    for key in ("git_commit", "git_dirty", "snapshot_digest", "seed", "processor"):
        print(f"  {key:16}{tags.get(key, '-')}")
    stages = sorted(key.removeprefix("run.") for key in tags if key.startswith("run."))
    print(f"  {'stages':16}{', '.join(stages)}")
    for name, value in sorted(build.data.metrics.items())[:6]:
        print(f"  {name:16}{value:.4g}")
if not builds:
    print("no build is recorded here; run `make repro`")
