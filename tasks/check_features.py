"""Stage check_features: check the features of every clip against the data rules."""

from pathlib import Path

import pandas
import pyarrow.parquet as pq

from mambatalk.quality.rules.catalogue import feature_rules
from tasks.expectations.suites import check, publish
from tasks.runtime.context import StageContext
from tasks.runtime.stage import stage_command


def run(context: StageContext) -> None:
    """Write Data Docs and the verdict."""
    table = _read_scalar_columns(context.paths.features / "clips.parquet")
    rules = feature_rules(context.config.check_features)
    # The vocabulary and the mean joint speeds include every clip, so none can be left out here:
    # a critical rule fails the stage, the other rules only warn.
    checked = check(table, rules, name="features", max_quarantined=1.0)
    publish(
        context,
        checked,
        docs=context.paths.data_docs / "features",
        title="Features",
        lead="One row per clip of the features: what the networks are trained on.",
    )


def _read_scalar_columns(path: Path) -> pandas.DataFrame:
    """Read the columns that rules can check: numbers and names, without audio and lists."""
    columns = [
        field.name
        for field in pq.read_schema(path)
        if not field.type.num_fields and str(field.type) != "binary"
    ]
    return pandas.read_parquet(path, columns=columns)


def main() -> None:
    """Run the stage."""
    stage_command("check_features", run, __doc__)


if __name__ == "__main__":
    main()
