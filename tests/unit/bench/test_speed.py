"""`mambatalk bench scan`, `bench step` and `bench train` measure, and print what they measured."""

import json
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from typer.testing import CliRunner

from mambatalk.bench.measurement import Measurement
from mambatalk.bench.scan import SCANS, measure_scans
from mambatalk.bench.service import measure_service
from mambatalk.cli.bench import app
from tests.helpers.tiny_bundle import tiny_bundle

ROOT = Path(__file__).parents[3]


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_all_scans_agree_with_the_loop_in_double_precision() -> None:
    calls: list[tuple[int, int]] = []
    timings = measure_scans(
        batch=2,
        channels=3,
        state=4,
        steps=11,
        repeat=1,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(k, 5) for k in range(1, 5)], "the reference, then each finished scan"
    assert [timing.name for timing in timings] == list(SCANS)
    assert all(timing.error < 1e-4 for timing in timings)
    assert all(timing.forward > 0 and timing.backward > 0 for timing in timings)


def test_scans_are_compared_in_a_table() -> None:
    sizes = ("--batch", 2, "--channels", 3, "--state", 4, "--steps", 11, "--repeat", 1)
    out = run("bench", "scan", *sizes, "--threads", 1)
    assert all(name in out for name in SCANS)
    assert "batch 2, 3 channels, state 4, 11 steps, 1 threads" in " ".join(out.split())


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    yaml = YAML()
    values = yaml.load(ROOT / "infra" / "profiles" / "tiny.yaml")
    values["train_generator"]["batch_size"] = 1
    path = tmp_path / "params.yaml"
    yaml.dump(values, path)
    return path


def test_a_step_of_a_profile_is_measured(profile: Path) -> None:
    out = run("bench", "step", "--profile", profile, "--steps", 1)
    assert out.startswith("generator: ")
    assert "ms a step, median of 1" in out


def test_our_step_is_compared_with_the_published_one(profile: Path) -> None:
    out = run("bench", "train", "--profile", profile, "--steps", 1, "--repeat", 2)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    ratios = {row[0]: row[3] for row in rows if len(row) == 5}
    assert set(ratios) == {"published", "ours"}
    assert ratios["published"] == "1.00"
    assert "batch 1, 2 x 1 steps, CPU" in out


def test_synthesis_is_measured_offline_in_a_batch_and_as_a_stream() -> None:
    tiny = ROOT / "infra" / "profiles" / "tiny.yaml"
    out = run("bench", "generate", "--profile", tiny, "--seconds", 5, "--clips", 2, "--json")
    measured = {row["quantity"]: row for row in json.loads(out)}
    assert all(row["value"] > 0 for row in measured.values())
    assert measured["offline"]["target"] == 6
    assert measured["start to first window"]["target"] == 5
    assert {"2 clips at once", "peak memory, 5 s offline"} <= set(measured)
    delay = measured["stream, hop 16 + 8, delay by design"]["value"]
    assert measured["stream, hop 16 + 8, first frame"]["value"] > 0.5 * delay


def test_the_service_answers_all_requests_at_twice_its_load(tmp_path: Path) -> None:
    tiny_bundle().save(tmp_path / "bundle")
    carried, overloaded = measure_service(
        tmp_path / "bundle", seconds=1, duration=1, waiting=2, device=torch.device("cpu")
    )
    assert set(carried.statuses) == {"200"}
    assert set(overloaded.statuses) <= {"200", "429"}
    assert 0 < carried.median <= carried.percentile_99


def test_measurements_are_printed_with_their_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        Measurement("speed", 600, "clips/s", 500, higher_is_better=True),
        Measurement("memory", 3, "GiB", 2),
        Measurement("hours", 5, "h"),
    ]
    monkeypatch.setattr("mambatalk.bench.data.measure_data", lambda *_, **__: iter(rows))
    out = run("bench", "data", "--root", tmp_path)
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    assert ["speed", "600 clips/s", "at least 500", "yes"] in cells
    assert ["memory", "3 GiB", "at most 2", "no"] in cells
    assert ["hours", "5 h", "", ""] in cells


def test_a_small_and_a_large_sample_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory must not grow with the corpus, so that two sizes are needed."""
    written: list[tuple[str, float]] = []

    def write_sample(folder: Path, *, hours: float, **_: object) -> None:
        written.append((folder.name, hours))

    monkeypatch.setattr("mambatalk.sample.build.write_sample", write_sample)
    monkeypatch.setattr("mambatalk.bench.data.measure_data", lambda *_, **__: iter(()))
    run("bench", "data", "--hours", 20)
    assert written == [("small", 2), ("large", 20)]
