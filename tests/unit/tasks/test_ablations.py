"""The ablations: their parameters exist, and the table says what the builds say."""

from pathlib import Path
from typing import Any

import pytest
import typer

from mambatalk.config import load_config
from mambatalk.errors import InputError
from mambatalk.metrics.catalogue import CATALOGUE, EVENTS
from mambatalk.synthesis.sampling import Sampling
from tasks.evaluate import _synthesizer
from tasks.tools import ablations
from tasks.tools.ablations import BASELINE, EXPERIMENTS, METRICS, chosen, page, table, write_params
from tests.helpers.tiny_bundle import tiny_bundle

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("profile", ["sample", "paper"])
def test_every_experiment_changes_parameters_that_exist(
    tmp_path: Path, name: str, profile: str
) -> None:
    params = tmp_path / "params.yaml"
    params.write_bytes((ROOT / f"infra/profiles/{profile}.yaml").read_bytes())
    before = params.read_text().count("#")
    write_params(params, {**EXPERIMENTS[name].changes, "seed": 7})
    assert load_config(params).seed == 7
    assert params.read_text().count("#") == before, "comments stay"


@pytest.mark.parametrize(
    ("key", "value"), [("train_generator.depth", 3), ("evaluate.codes", "best")]
)
def test_a_parameter_that_does_not_exist_is_bad_input(
    tmp_path: Path, key: str, value: object
) -> None:
    params = tmp_path / "params.yaml"
    params.write_bytes((ROOT / "infra/profiles/tiny.yaml").read_bytes())
    with pytest.raises(InputError, match=key):
        write_params(params, {key: value})


def test_the_baseline_is_always_among_the_chosen() -> None:
    assert chosen([]) == list(EXPERIMENTS)
    assert chosen(["no_words"]) == [BASELINE, "no_words"]
    with pytest.raises(InputError, match="--only: expected one of corrected, .* found no_audio"):
        chosen(["no_audio"])


def metrics(value: float) -> dict[str, Any]:
    """All metrics of the model have this value, and those of ground truth are 2."""
    rows = {
        row: {key: {"corrected": number} for key in CATALOGUE}
        for row, number in (("model", value), ("ground_truth", 2.0))
    }
    events = {key: {"model": value, "ground_truth": 2.0} for key in EVENTS}
    return {"rows": rows, **events, "clips": 5}


def cells(text: str, title: str) -> dict[str, str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {title} ")]
    _, seeds, *values = [cell.strip() for cell in line.strip("|").split("|")]
    return {"seeds": seeds, **dict(zip(METRICS, values, strict=True))}


def test_the_table_has_means_and_ranges_and_marks_what_all_seeds_agree_on() -> None:
    text = table(
        {
            BASELINE: {seed: metrics(4.0) for seed in (1, 2, 3)},
            "no_words": {seed: metrics(5.0 + seed) for seed in (1, 2, 3)},
            "likely_codes": {seed: metrics(3.0 + seed) for seed in (1, 2, 3)},
            "no_revival": {1: metrics(1.0), 2: metrics(3.0)},
        }
    )
    assert cells(text, "the profile as it is")["event_f1"] == "4.000 (4.000 to 4.000)"
    higher = cells(text, "audio alone")
    assert higher["seeds"] == "3"
    assert higher["event_f1"] == "**7.000 (6.000 to 8.000)**", "more is better"
    assert higher["fgd"] == "*70.00 (60.00 to 80.00)*", "less is better; printed unit 0.1"
    assert higher["l1div"] == "*7.000 (6.000 to 8.000)*", "farther from ground truth"
    assert cells(text, "most likely code of each frame")["event_f1"] == "5.000 (4.000 to 6.000)"
    two = cells(text, "dead codes stay dead")
    assert (two["seeds"], two["l1div"]) == ("2", "2.000 (1.000 to 3.000)"), "too few to mark"


def test_a_metric_that_a_build_does_not_have_counts_neither_way() -> None:
    builds = {seed: metrics(5.0 + seed) for seed in (1, 2, 3)}
    builds[3]["rows"]["model"]["fgd"] = {"published": None, "corrected": None}
    text = table({BASELINE: {seed: metrics(4.0) for seed in (1, 2, 3)}, "no_words": builds})
    assert cells(text, "audio alone")["fgd"] == "65.00 (60.00 to 70.00)"


def test_the_page_has_one_place_for_the_table() -> None:
    text = ablations.PAGE.read_text(encoding="utf-8")
    once = page(text, "| new |")
    assert once.count("| new |") == 1
    assert page(once, "| newer |") == page(text, "| newer |")


def test_a_failed_build_does_not_stop_the_others_and_a_signal_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = {BASELINE: 0, "no_words": 255, "no_local_scan": 0}
    built: list[tuple[str, int]] = []

    def build(experiment: Any, profile: str, seed: int, stored: Path) -> int:
        built.append((stored.parent.name, seed))
        return codes[stored.parent.name]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ablations, "prepare_worktree", lambda folder: None)
    monkeypatch.setattr(ablations, "build", build)
    with pytest.raises((SystemExit, typer.Exit)) as ended:
        ablations.command(["no_words", "no_local_scan"], seeds=2, profile="tiny")
    assert ended.value.code == 1  # type: ignore[union-attr]
    assert built == [(name, seed) for seed in (2021, 2022) for name in EXPERIMENTS if name in codes]
    assert "failed: no_words with seed 2021, no_words with seed 2022" in capsys.readouterr().err

    built.clear()
    codes["no_local_scan"] = 143
    with pytest.raises(SystemExit) as ended:
        ablations.command(["no_local_scan"], seeds=2, profile="tiny")
    assert ended.value.code == 143
    assert len(built) == 2


def test_the_evaluation_chooses_codes_as_its_parameter_says() -> None:
    bundle = tiny_bundle()
    chain, likely, drawn = (
        _synthesizer(bundle, codes, seed=7) for codes in ("chain", "likely", "drawn")
    )
    assert chain.rules == bundle.rules
    assert (likely.rules.coherent_codes, likely.choice.sampling) == (False, None)
    assert drawn.choice.sampling == Sampling(seed=7, temperature=0.9, top_p=0.9)
    assert drawn.choice.chains == {}


def test_predicted_motion_leaves_no_codes_to_choose() -> None:
    bundle = tiny_bundle(target="motion")
    assert _synthesizer(bundle, "chain", seed=7).choice.sampling is None
    for codes in ("likely", "drawn"):
        with pytest.raises(InputError, match=f"evaluate.codes: expected chain .* found {codes}"):
            _synthesizer(bundle, codes, seed=7)  # type: ignore[arg-type]
