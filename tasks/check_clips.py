"""Stage check_clips: check every clip of the store against the data rules.

Clips that break a rule of severity "quarantine" are left out of what follows, with their reasons,
unless a person has decided otherwise in `data/decisions.csv`.
The data-quality page shows this corpus alone, without drift: a page that depended on earlier runs
would differ between checkouts, and DVC deletes it before each run. `python -m flows.data_quality`
keeps earlier manifests and compares with them.
"""

import logging
from pathlib import Path

from mambatalk.clips.store import ClipStore
from mambatalk.corpus.snapshot import read_snapshot
from mambatalk.files import write_json
from mambatalk.quality.decisions import read_decisions
from mambatalk.quality.pages.page import write_quality_page
from mambatalk.quality.pages.report import QualityReport
from mambatalk.quality.rules.catalogue import clip_rules
from mambatalk.rendering.moments import draw_moments
from tasks.expectations.suites import Checked, check, publish
from tasks.runtime.context import StageContext
from tasks.runtime.stage import stage_command, workers

log = logging.getLogger(f"mambatalk.{__name__}")


def run(context: StageContext) -> None:
    """Write Data Docs, the data-quality page, the verdict, and `data/accepted.json`."""
    section = context.config.check_clips
    paths = context.paths
    store = ClipStore(paths.clips)
    rules = clip_rules(section)
    checked = check(
        store.manifest,
        rules,
        name="clips",
        max_quarantined=section.max_quarantined,
        decisions=read_decisions(paths.decisions),
    )
    for judged in checked.verdict["decisions"]:
        if judged.needs_attention:
            log.warning("%s: %s %s", paths.decisions, judged.decision.clip_id, judged.explanation)
    page, docs = _page_and_docs(context, checked)
    write_quality_page(
        page,
        QualityReport(
            corpus=f"the clip store {paths.clips.relative_to(paths.root)}",
            store=store,
            rules=rules,
            data_docs=docs,
            findings=checked.findings,
            verdict=checked.verdict,
            snapshot=read_snapshot(paths.resolve(context.config.ingest.snapshot)),
            draw_stills=draw_moments,
        ),
        workers=workers(),
    )
    context.recorder.artifact(page.parent)
    publish(
        context,
        checked,
        docs=paths.data_docs / "clips",
        title="Clips",
        lead="One row per clip of the store, with measurements of its motion, audio and words.",
    )
    accepted = {key: checked.verdict[key] for key in ("accepted", "quarantined")}
    write_json(paths.accepted, accepted)
    context.recorder.artifact(paths.accepted)


def _page_and_docs(context: StageContext, checked: Checked) -> tuple[Path, str]:
    """Return the path of the data-quality page and the link from it to Data Docs.

    If the check fails, both are in the run folder: DVC keeps no output of a stage that fails.
    """
    if checked.verdict["ok"]:
        return context.paths.quality_page, "../data_docs/clips/index.html"
    return context.run_folder / "quality" / "index.html", "../evidence/index.html"


def main() -> None:
    """Run the stage."""
    stage_command("check_clips", run, __doc__)


if __name__ == "__main__":
    main()
