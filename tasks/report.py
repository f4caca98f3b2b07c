"""Stage report: one self-contained page that a person reads first."""

import base64
from pathlib import Path
from typing import Any, Final

from mambatalk.config import Config
from mambatalk.files import atomic_file, read_json
from mambatalk.metrics.catalogue import CATALOGUE
from mambatalk.reporting import html
from tasks.report_page.charts import curves
from tasks.report_page.facts import facts
from tasks.report_page.numbers import (
    TABLE_1_KEYS,
    clip_table,
    code_books,
    columns,
    metrics_table,
    published_row,
    published_table,
    strips,
)
from tasks.report_page.verdicts import headline, not_comparable, verdicts
from tasks.runtime.paths import EVALUATION, RENDERS, REPORT
from tasks.runtime.stage import stage_command
from tasks.tracking.recorder import Recorder, join_runs

TEMPLATE: Final = Path(__file__).parent / "report_page" / "template.html"
SHOWN_FILMS: Final = 2


def run(config: Config, recorder: Recorder) -> None:
    """Write `reports/index.html` and gather the pipeline's runs in MLflow under one."""
    page = render(content(config))
    with atomic_file(REPORT) as temporary:
        temporary.write_text(page, encoding="utf-8")
    recorder.artifact(REPORT)
    join_runs(_other_stages(), recorder=recorder)


def content(config: Config) -> dict[str, Any]:
    """Everything the template shows."""
    evaluation, found = read_json(EVALUATION), facts(config)
    results = verdicts(evaluation)
    return {
        "facts": found,
        "evaluation": evaluation,
        "split": config.evaluate.split,
        "headline": headline(results),
        "verdicts": results,
        "not_comparable": not_comparable(
            found, evaluation, published_fgd=config.train_fgd_encoder.published is not None
        ),
        "metrics": CATALOGUE,
        "columns": columns(evaluation),
        "rows": metrics_table(evaluation),
        "strips": strips(evaluation),
        "ours": published_row(evaluation),
        "table_1": published_table(),
        "table_1_keys": TABLE_1_KEYS,
        "clips": clip_table(),
        "curves": curves(),
        "code_books": code_books(),
        "films": _films(),
    }


def render(values: dict[str, Any]) -> str:
    """The page: styles, pictures and films inside, nothing fetched."""
    return html.render(TEMPLATE, values)


def _films() -> dict[str, Any]:
    """The first films and their stills as data URIs, and the names of the rest."""
    paths = sorted(RENDERS.glob("*.mp4"))
    shown = [
        {
            "clip": path.stem,
            "film": _data_uri(path, "video/mp4"),
            "still": _data_uri(path.with_suffix(".png"), "image/png"),
        }
        for path in paths[:SHOWN_FILMS]
    ]
    return {"shown": shown, "others": [path.name for path in paths[SHOWN_FILMS:]]}


def _data_uri(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _other_stages() -> list[str]:
    from dvc.repo import Repo

    with Repo() as repo:
        return sorted(stage.name for stage in repo.index.stages if stage.name != "report")


def main() -> None:
    """Run under DVC."""
    stage_command("report", run, __doc__)


if __name__ == "__main__":
    main()
