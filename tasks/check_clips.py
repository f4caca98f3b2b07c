"""Stage check_clips: every clip of the store against the rules; bad clips are left out with their reasons."""

import sys

import pandas

from mambatalk.config import Config
from mambatalk.data.checks import clip_rules
from mambatalk.files import write_json
from tasks._expectations import check, publish
from tasks._paths import ACCEPTED, CLIPS, DATA_DOCS, METRICS
from tasks._stage import execute
from tasks._tracking import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write Data Docs, the verdict, and `data/accepted.json`."""
    section = config.check_clips
    checked = check(pandas.read_parquet(CLIPS / "manifest.parquet"), clip_rules(section), name="clips",
                    max_quarantined=section.max_quarantined)
    publish(checked, "check_clips", docs=DATA_DOCS / "clips", metrics=METRICS / "check_clips.json", recorder=recorder,
            title="Clips", lead="One row per clip of the store: what was recorded, and what its files say.")
    write_json(ACCEPTED, {key: checked.verdict[key] for key in ("accepted", "quarantined")})
    recorder.artifact(ACCEPTED)


def main() -> None:
    """Run under DVC."""
    sys.exit(execute("check_clips", run))


if __name__ == "__main__":
    main()
