"""Stage check_features: what the networks would learn from, one row per clip, against the rules."""

import pandas
import pyarrow.parquet as pq

from mambatalk.config import Config
from mambatalk.quality.rules import feature_rules
from tasks.expectations.suites import check, publish
from tasks.runtime.paths import DATA_DOCS, FEATURES, METRICS
from tasks.runtime.stage import stage_command
from tasks.tracking.recorder import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write Data Docs and the verdict."""
    # A clip that is no good here cannot be left out any more: what is critical fails, the rest is
    # told.
    checked = check(
        _table(), feature_rules(config.check_features), name="features", max_quarantined=1.0
    )
    publish(
        checked,
        "check_features",
        docs=DATA_DOCS / "features",
        metrics=METRICS / "check_features.json",
        recorder=recorder,
        title="Features",
        lead="One row per clip of the features: what the networks learn from.",
    )


def _table() -> pandas.DataFrame:
    """The columns that rules can judge: numbers and names, no sound and no lists."""
    path = FEATURES / "clips.parquet"
    schema = pq.read_schema(path)
    flat = [
        field.name for field in schema if not (field.type.num_fields or str(field.type) == "binary")
    ]
    return pandas.read_parquet(path, columns=flat)


def main() -> None:
    """Run under DVC."""
    stage_command("check_features", run, __doc__)


if __name__ == "__main__":
    main()
