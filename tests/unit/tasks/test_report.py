"""The report shows the metrics of the build, checks the model, and needs no network."""

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas
import pytest

from mambatalk.config import Config, load_config
from mambatalk.corpus.textgrid import Interval
from mambatalk.files import write_json
from mambatalk.metrics.catalogue import KID, MOTION
from mambatalk.motion.skeleton import PARTS
from mambatalk.viewer.clips import embedded_clip
from tasks import report
from tasks.report_page.little_data import little_data
from tasks.report_page.numbers import published_table
from tasks.report_page.verdicts import headline, not_comparable
from tasks.runtime.paths import Paths
from tests.helpers.chromium import launch, new_page, started_playwright, wait_until
from tests.helpers.motions import clicks, smooth_motion
from tests.helpers.stand_in_body import stand_in_body

ROOT = Path(__file__).parents[3]
CONFIG = load_config(ROOT / "params.yaml")
NAMES = ("ground_truth", "model", "mean_pose", "random_clip", "shuffled_audio")
GOOD = {  # One number of a kind for each row, the model ahead everywhere.
    "fgd": (0.1, 0.2, 0.9, 0.5, 0.3),
    "bc": (0.7, 0.65, 0.0, 0.5, 0.6),
    "l1div": (12.0, 10.0, 0.0, 11.0, 9.0),
    "mse": (0.0, 6e-8, 9e-8, 9e-8, 8e-8),
    "lvd": (0.0, 6e-5, 9e-5, 9e-5, 8e-5),
    "srgr": (1.0, 0.4, 0.3, 0.2, 0.3),
}
EVENT_F1 = (0.95, 0.6, 0.0, 0.3, 0.4)
EVENT_F1_LOWER = (1.0, 0.55, 0.0, 0.15, 0.25)
CHECKS = [
    {
        "group": "Parts",
        "metric": "range_hands",
        "name": "Range, hands: 0.7 to 1.3 x ground truth",
        "status": "passed",
        "text": "1 x",
    },
    {
        "group": "Parts",
        "metric": "range_root",
        "name": "Range, root: 0.7 to 1.3 x ground truth",
        "status": "failed",
        "text": "0.1 x",
    },
    {
        "group": "Ground",
        "metric": "root_drift",
        "name": "Root drift in 10 s: at most 2 x ground truth",
        "status": "not shown",
        "text": "2 of at least 5 clips",
    },
]


def with_status(*statuses: str) -> list[dict[str, str]]:
    return [check | {"status": status} for check, status in zip(CHECKS, statuses, strict=True)]


def evaluation(**changes: Any) -> dict[str, Any]:
    rows = {
        name: {
            key: {"published": values[k] * 1.5, "corrected": values[k]}
            for key, values in GOOD.items()
        }
        for k, name in enumerate(NAMES)
    }
    for k, row in enumerate(rows.values()):
        row |= {key: {"published": None, "corrected": 0.25 * k} for key in (KID.key, *MOTION)}
    return {
        "rows": rows,
        "event_f1": dict(zip(NAMES, EVENT_F1, strict=True)),
        "event_f1_lower": dict(zip(NAMES, EVENT_F1_LOWER, strict=True)),
        "clips": 2,
        "frames": 600,
        "fgd_rows": 900,
        "body": "stand-in",
        "fgd_encoder": "home-made",
        "fidelity": "corrected",
        "warnings": [],
        "checks": CHECKS,
        **changes,
    }


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that writes the outputs of a build and returns its page."""
    monkeypatch.chdir(tmp_path)

    def page(
        *,
        numbers: dict[str, Any] | None = None,
        quarantined: dict[str, list[str]] | None = None,
        notes: list[str] | None = None,
    ) -> str:
        write_build(CONFIG, numbers or evaluation(), quarantined or {}, notes or [])
        return report.render(report.content(CONFIG, Paths()))

    return page


def write_build(
    config: Config, numbers: dict[str, Any], quarantined: dict[str, list[str]], notes: list[str]
) -> None:
    for folder in ("data/clips", "metrics/train_vq", "plots/train_vq", "renders"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    write_json(config.ingest.snapshot, {"digest": "5" * 64})
    write_json("bundle/bundle.json", {"digest": "b" * 64})
    clips = ["1_ada_0_1_1", "2_bruno_0_2_2", *quarantined]
    pandas.DataFrame(
        {
            "clip_id": clips,
            "speaker": range(1, len(clips) + 1),
            "name": ["ada", "bruno", "x"][: len(clips)],
            "split": ["train", "test", "train"][: len(clips)],
            "motion_seconds": 90.0,
        }
    ).to_parquet("data/clips/manifest.parquet")
    write_json("data/accepted.json", {"accepted": clips[:2], "quarantined": quarantined})
    write_json(
        "data/features/features.json",
        {"splits": {"train": 1, "test": 1}, "words": 40, "notes": notes, "body": "stand-in"},
    )
    for name, broken in (("clips", {"readable": 1} if quarantined else {}), ("features", {})):
        write_json(
            f"metrics/check_{name}.json",
            {
                "success": True,
                "accepted": 2,
                "quarantined": len(quarantined),
                "critical": 0,
                "warnings": 0,
                "expectations": 9,
                "unmet": len(broken),
                "broken": broken,
            },
        )
    for part in PARTS:
        measures = {"codes_used": 0.5, "perplexity": 7.25, "kmeans_perplexity": 20.0}
        write_json(f"metrics/train_vq/{part}.json", {"range_ratio": 0.75, **measures})
    write_json("metrics/train_vq/global.json", {"range_ratio": 0.25, "drift_ratio": 0.5})
    write_json(
        "metrics/train_generator.json",
        {"loss": 2.0, "hands/perplexity": 3.5, "hands/true_perplexity": 6.25},
    )
    write_json("metrics/metrics.json", numbers)
    with Path("metrics/per_clip.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "clip",
                "row",
                "frames",
                "bc_corrected",
                "l1div_corrected",
                "mse_corrected",
                "lvd_corrected",
                "srgr_corrected",
                "event_f1",
                "event_f1_lower",
            ]
        )
        writer.writerows(
            ["2_bruno_0_2_2", name, 300, 0.5, 11, 6e-8, "", "", 0.5, 0.25] for name in NAMES
        )
    for name in (
        "train_fgd_encoder",
        "train_generator",
        *(f"train_vq/{part}" for part in ("face", "upper", "hands", "lower", "global")),
    ):
        Path(f"plots/{name}.csv").write_text(
            "epoch,train/loss,val/loss\n1,4,5\n2,2,3\n3,1.5,2.75\n"
        )
    Path("renders/2_bruno_0_2_2.mp4").write_bytes(b"film")
    Path("renders/2_bruno_0_2_2.png").write_bytes(b"still")


class Sources(HTMLParser):
    """The addresses that a browser would load, and the visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.scripts = 0
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.scripts += tag == "script"
        self.loaded += [
            found[key] or "" for key in ("src", "poster", "srcset", "data") if key in found
        ]
        if tag == "link":
            self.loaded.append(found["href"] or "")

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def text(page: str) -> str:
    return " ".join(Sources(page).text.split())


def test_the_page_loads_nothing(build: Callable[..., str]) -> None:
    page = build()
    sources = Sources(page)
    assert sources.loaded
    assert all(address.startswith("data:") for address in sources.loaded)
    assert sources.scripts == 0
    assert not re.search(r"url\((?!data:)|@import", page)


def test_the_same_build_gives_the_same_bytes(build: Callable[..., str]) -> None:
    assert build() == build()


def test_metrics_are_in_the_units_that_papers_print(build: Callable[..., str]) -> None:
    page = text(build())
    assert "2.000" in page  # FGD of the model, corrected.
    assert "3.000" in page  # The same, published.


def test_mambatalk_is_in_the_published_table() -> None:
    (row,) = [row for row in published_table() if row["method"] == "MambaTalk"]
    assert [row[key] for key in ("fgd", "bc", "l1div", "mse", "lvd")] == [
        "5.366",
        "7.81",
        "13.05",
        "6.289",
        "6.897",
    ]


def test_the_headline_counts_checks_and_clips_and_names_what_failed() -> None:
    first, second = headline(evaluation())
    assert first == "The model fails 1 of 3 checks on 2 clips and one seed"
    assert "Failed: Range, root." in second
    assert second.endswith("a value is undefined: 1.")


def test_checks_that_are_not_shown_are_not_passed() -> None:
    first, second = headline(evaluation(checks=with_status("passed", "passed", "not shown")))
    assert first == ("The model fails no check, but only 2 of 3 are shown on 2 clips and one seed")
    assert "Failed" not in second


def test_a_model_that_passes_everything_says_so() -> None:
    passed = evaluation(checks=with_status("passed", "passed", "passed"), clips=1)
    assert headline(passed) == ("The model passes all 3 checks on 1 clip and one seed", "")


def test_every_check_is_on_the_page_with_its_status(build: Callable[..., str]) -> None:
    page = text(build())
    for check in CHECKS:
        mark = {"passed": "✓", "failed": "✗", "not shown": "?"}[check["status"]]
        assert f"{mark} {check['status']} {check['name']} {check['text']}" in page
    assert "How each part moves 1 of 2 passed" in page


def test_the_page_shows_how_the_body_moves_beside_truth_and_baselines(
    build: Callable[..., str],
) -> None:
    numbers = evaluation()
    numbers["rows"]["ground_truth"]["range_lower"]["corrected"] = 0.035
    numbers["rows"]["model"]["range_lower"]["corrected"] = 0.0007
    page = text(build(numbers=numbers))
    row = "Range, lower body rad 0.035 7.00e-04"
    assert row in page
    assert "0.02 nearer to ground truth" in page[page.index(row) :][:100]


def test_warnings_of_the_evaluation_are_on_the_page(build: Callable[..., str]) -> None:
    note = "FGD of 5 feature rows in 60 dimensions is inflated and not comparable"
    page = text(
        build(
            numbers=evaluation(
                warnings=[note], event_f1=dict.fromkeys(NAMES), event_f1_lower=dict.fromkeys(NAMES)
            )
        )
    )
    assert "FGD is not estimable here" in page
    assert note in page
    assert "events" not in page, "the corpus has no written events"


def test_codebooks_are_shown_beside_k_means_and_the_generated_codes(
    build: Callable[..., str],
) -> None:
    page = text(build())
    assert "hands 50 % 7.2 20.0 0.75 3.5 6.2" in page
    assert "upper 50 % 7.2 20.0 0.75 – –" in page


def test_warnings_of_the_trainings_are_on_the_page(build: Callable[..., str]) -> None:
    page = text(build())
    assert "train_vq@global: the reconstructed motion stands nearly still" in page
    assert "evaluate: root: the generated motion" not in page


def test_reasons_against_a_comparison_are_given() -> None:
    facts = {"sample": False, "speakers": ["2 scott"]}
    like_the_paper = evaluation(body="smplx", fgd_encoder="published", clips=15)
    assert not_comparable(facts, like_the_paper) == []
    assert "stand-in" in " ".join(not_comparable(facts, {**like_the_paper, "body": "stand-in"}))
    for origin in ("home-made", "unknown", None):
        (reason,) = not_comparable(facts, {**like_the_paper, "fgd_encoder": origin})
        assert "AESKConv" in reason
    assert "2 clips" in " ".join(not_comparable(facts, {**like_the_paper, "clips": 2}))
    assert "sample" in " ".join(not_comparable({**facts, "sample": True}, like_the_paper))


def test_stand_ins_are_named_beside_every_table_of_metrics(build: Callable[..., str]) -> None:
    page = text(build())
    for words in ("FGD‡ 1e-1", "BC† 1e-1", "Foot skating† cm/s", "Range, root cm"):
        assert words in page
    body = "† measured on the stand-in body and not on SMPL-X: not comparable"
    assert page.count(body) == 5, "checks, metrics, motion, published table, clips"
    real = text(build(numbers=evaluation(body="smplx", fgd_encoder="published")))
    assert "†" not in real
    assert "‡" not in real


FEW = {
    "sample": False,
    "minutes": 2.1,
    "clips": 2,
    "splits": [("train", 1, 1), ("test", 1, 1)],
    "speakers": ["2 scott"],
    "quarantined": {},
}


def test_a_small_recorded_corpus_gets_no_verdict_on_the_model() -> None:
    limits = little_data(FEW, evaluation(clips=1, warnings=["FGD of 5 feature rows"]))
    assert limits is not None
    assert "too small to judge a model" in limits.headline[0]
    text = " ".join(limits.not_shown)
    for words in ("2.1 minutes", "1 clip cannot tell a difference", "FGD", "other speakers"):
        assert words in text


def test_limits_name_only_what_applies() -> None:
    several = {**FEW, "speakers": ["1 ada", "2 bruno"]}
    limits = little_data(several, evaluation(clips=6))
    assert limits is not None
    text = " ".join(limits.not_shown)
    for words in ("from chance", "FGD", "other speakers"):
        assert words not in text


@pytest.mark.parametrize("change", [{"sample": True}, {"minutes": 75.0}])
def test_the_sample_and_a_large_corpus_are_judged(change: dict[str, Any]) -> None:
    assert little_data({**FEW, **change}, evaluation()) is None


def test_the_page_of_a_small_corpus_says_so(build: Callable[..., str]) -> None:
    build()
    recorded = replace(CONFIG, sample_corpus=replace(CONFIG.sample_corpus, enabled=False))
    page = text(report.render(report.content(recorded, Paths())))
    assert "too small to judge a model" in page
    assert "It does not show" in page
    assert "It does not show" not in text(build())


def test_quarantined_clips_and_notices_are_shown(build: Callable[..., str]) -> None:
    page = text(
        build(
            quarantined={"3_<b>x</b>_0_3_3": ["readable: no wav (cannot be read)"]},
            notes=["the corpus marks no validation clip: 1 of 2 carved from train"],
        )
    )
    assert "Quarantined and not used: 1 of 3 clips" in page
    assert "3_<b>x</b>_0_3_3" in page, "a name from the data is text, not markup"
    assert "no wav (cannot be read)" in page
    assert "The corpus marks no validation clip: 1 of 2 carved from train." in page


def test_every_network_has_its_curve(build: Callable[..., str]) -> None:
    page = build()
    assert page.count("<polyline") == 2 * 7
    assert "validation ends at 2.75" in page


def test_a_network_that_was_imported_has_no_curve(build: Callable[..., str]) -> None:
    build()
    Path("plots/train_fgd_encoder.csv").write_text("epoch,train/loss,val/loss\n")
    assert report.render(report.content(CONFIG, Paths())).count("<polyline") == 2 * 6


def test_without_any_estimate_no_check_counts() -> None:
    first, second = headline(evaluation(checks=with_status("not shown", "not shown", "not shown")))
    assert first == "These clips are too few to check the model: 2 clips and one seed"
    assert second.endswith("a value is undefined: 3.")


def test_a_build_without_rendered_clips_has_no_player_and_allows_no_script(
    build: Callable[..., str],
) -> None:
    page = build()
    assert "script-src 'none'" in page
    assert "<script" not in page


@pytest.mark.slow
def test_the_player_of_the_report_moves_from_a_file_on_a_phone(
    build: Callable[..., str], tmp_path: Path
) -> None:
    clip = embedded_clip(
        "1_ada_0_1_1",
        motion=smooth_motion(0, 60),
        truth=smooth_motion(1, 60),
        body=stand_in_body(),
        waveform=clicks(60),
        words=[Interval(0, 1, "</script><b>hello</b>")],
    )
    (tmp_path / "renders").mkdir()
    write_json(tmp_path / "renders" / "player.json", [clip])
    report_file = tmp_path / "index.html"
    report_file.write_text(build(), encoding="utf-8")

    with started_playwright() as playwright, launch(playwright) as chromium:
        page = new_page(chromium, width=390, height=800)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text))
        page.goto(report_file.as_uri())
        assert len(page.frames) == 1, "nothing starts without a click"
        page.click("#start-player")
        page.frame_locator(".player iframe").locator("body[data-ready='0']").wait_for()
        player = page.frames[1]
        player.click("#play")
        wait_until(player, "player.shown > 0.3")
        box = player.locator("#figure").bounding_box()
        assert box is not None
        assert box["height"] > 200
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert not wide, "the page does not scroll sideways"
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
    assert [text for text in refused if "Content Security Policy" in text] == []
