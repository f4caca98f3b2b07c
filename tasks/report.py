"""Stage report: write one self-contained page, the first one to read after a build."""

import base64
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from mambatalk.config import Config
from mambatalk.files import atomic_file, read_json
from mambatalk.metrics.catalogue import CATALOGUE, footnotes, mark
from mambatalk.reporting import html
from mambatalk.viewer.standalone import script_hash, script_hashes, standalone_page
from tasks.report_page.charts import curves
from tasks.report_page.facts import facts
from tasks.report_page.little_data import little_data
from tasks.report_page.numbers import (
    ROWS,
    TABLE_1_KEYS,
    clip_table,
    codebooks,
    columns,
    metrics_table,
    motion_table,
    published_row,
    published_table,
    strips,
    training_warnings_by_stage,
)
from tasks.report_page.verdicts import grouped, headline, not_comparable
from tasks.runtime.context import StageContext
from tasks.runtime.paths import Paths
from tasks.runtime.stage import stage_command
from tasks.tracking.pipeline import Headline, join_runs

TEMPLATE: Final = Path(__file__).parent / "report_page" / "template.html"
START_PLAYER: Final = """
const button = document.getElementById("start-player");
button.onclick = () => {
  const frame = document.createElement("iframe");
  frame.title = "Player";
  frame.srcdoc = button.dataset.page;
  button.replaceWith(frame);
};
"""
"""The page of the player becomes a document of its own, so that styles and scripts stay apart."""
EMBEDDED_VIDEOS: Final = 2
"""Videos inside the page, about 1 MB each; the page names the others."""


def run(context: StageContext) -> None:
    """Write `reports/index.html` and gather the runs of all stages in MLflow under one."""
    paths = context.paths
    values = content(context.config, paths)
    page = render(values)
    with atomic_file(paths.report) as temporary:
        temporary.write_text(page, encoding="utf-8")
    context.recorder.artifact(paths.report)
    join_runs(
        _other_stages(paths),
        recorder=context.recorder,
        root=paths.root,
        headline=Headline(
            read_json(paths.summary),
            "\n\n".join([*values["headline"], *(f"Warning: {one}." for one in values["warnings"])]),
        ),
    )


def content(config: Config, paths: Paths) -> dict[str, Any]:
    """Collect everything that the template shows."""
    evaluation = read_json(paths.evaluation)
    found = facts(config, paths)
    limits = little_data(found, evaluation)
    return {
        "facts": found,
        "evaluation": evaluation,
        "split": config.evaluate.split,
        "headline": limits.headline if limits else headline(evaluation),
        "limits": limits,
        "checks": list(grouped(evaluation["checks"])),
        "not_comparable": not_comparable(found, evaluation),
        "metrics": CATALOGUE,
        "marks": {key: mark(metric, evaluation) for key, metric in CATALOGUE.items()},
        "footnotes": footnotes(evaluation),
        "columns": columns(evaluation),
        "rows": metrics_table(evaluation),
        "row_names": ROWS,
        "strips": strips(evaluation),
        "motion": motion_table(evaluation),
        "ours": published_row(evaluation),
        "table_1": published_table(),
        "table_1_keys": TABLE_1_KEYS,
        "clips": clip_table(paths.per_clip),
        "curves": curves(paths.plots),
        "codebooks": codebooks(paths.metrics),
        "warnings": training_warnings_by_stage(paths.metrics, evaluation),
        "videos": _videos(paths.renders),
        **_player(paths.renders / "player.json"),
    }


def render(values: dict[str, Any]) -> str:
    """Return the page. Styles, pictures and videos are embedded, so that it needs no network."""
    return html.render(TEMPLATE, values)


def _videos(folder: Path) -> dict[str, Any]:
    """Return the first videos and their pictures as data URIs, and the names of the others."""
    paths = sorted(folder.glob("*.mp4"))
    embedded = [
        {
            "clip": path.stem,
            "video": _data_uri(path, "video/mp4"),
            "picture": _data_uri(path.with_suffix(".png"), "image/png"),
        }
        for path in paths[:EMBEDDED_VIDEOS]
    ]
    return {"embedded": embedded, "others": [path.name for path in paths[EMBEDDED_VIDEOS:]]}


def _player(path: Path) -> dict[str, Any]:
    """Return the viewer's page with the clips of a file, and the hashes of the scripts.

    Without rendered clips there is no player, and no script may run.
    """
    if not path.is_file():
        return {"player": None, "start_player": Markup(""), "scripts": Markup("'none'")}
    scripts = [*script_hashes(), script_hash(START_PLAYER)]
    return {
        "player": standalone_page(read_json(path)),
        "start_player": Markup(START_PLAYER),
        "scripts": Markup(" ".join(scripts)),
    }


def _data_uri(path: Path, mime_type: str) -> str:
    return f"data:{mime_type};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _other_stages(paths: Paths) -> list[str]:
    from dvc.repo import Repo

    with Repo(str(paths.root)) as repo:
        return sorted(stage.name for stage in repo.index.stages if stage.name != "report")


def main() -> None:
    """Run the stage."""
    stage_command("report", run, __doc__)


if __name__ == "__main__":
    main()
