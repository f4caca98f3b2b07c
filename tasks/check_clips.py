"""Stage check_clips: every clip of the store against the rules; bad clips are left out with their
reasons.

The data-quality page made here shows one corpus as it is and compares it with none: an output that
hung on what ran before would differ from checkout to checkout, and DVC wipes it before each run.
Drift against the previous manifest is the business of `python -m flows.data_quality`, which keeps
what it saw.
"""

from pathlib import Path

from mambatalk.clips.store import ClipStore
from mambatalk.config import Config
from mambatalk.files import write_json
from mambatalk.quality.page import write_quality_page
from mambatalk.quality.report import QualityReport
from mambatalk.quality.rules import clip_rules
from tasks.expectations.suites import Checked, check, publish
from tasks.runtime.paths import ACCEPTED, CLIPS, DATA_DOCS, METRICS, QUALITY
from tasks.runtime.stage import stage_command
from tasks.runtime.status import scratch
from tasks.tracking.recorder import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write Data Docs, the data-quality page, the verdict, and `data/accepted.json`."""
    section, store = config.check_clips, ClipStore(CLIPS)
    rules = clip_rules(section)
    checked = check(store.manifest, rules, name="clips", max_quarantined=section.max_quarantined)
    page, docs = _places(checked)
    write_quality_page(
        page,
        QualityReport(
            corpus=f"the clip store {CLIPS}",
            store=store,
            rules=rules,
            data_docs=docs,
            findings=checked.findings,
            verdict=checked.verdict,
        ),
    )
    recorder.artifact(page.parent)
    publish(
        checked,
        "check_clips",
        docs=DATA_DOCS / "clips",
        metrics=METRICS / "check_clips.json",
        recorder=recorder,
        title="Clips",
        lead="One row per clip of the store: what was recorded, and what its files say.",
    )
    write_json(ACCEPTED, {key: checked.verdict[key] for key in ("accepted", "quarantined")})
    recorder.artifact(ACCEPTED)


def _places(checked: Checked) -> tuple[Path, str]:
    """The page, and Data Docs as seen from it; in the scratch folder where the stage fails, as DVC
    keeps no output.
    """
    if checked.verdict["ok"]:
        return QUALITY, "../data_docs/clips/index.html"
    return scratch("check_clips") / "quality" / "index.html", "../evidence/index.html"


def main() -> None:
    """Run under DVC."""
    stage_command("check_clips", run, __doc__)


if __name__ == "__main__":
    main()
