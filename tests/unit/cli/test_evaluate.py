"""`mambatalk evaluate`: files of any method, single or in folders, printed in each format."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner, Result

from mambatalk.cli.evaluate import app
from mambatalk.errors import InputError
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.models.fgd.storage import save_fgd_encoder
from mambatalk.motion.clip import SmplxMotion
from tests.helpers.motions import clicks, smooth_motion
from tests.helpers.stand_in_body import stand_in_file

NAMES = ("1_a_0_1_1", "1_a_0_2_2", "2_b_0_1_1", "2_b_0_2_2", "2_b_0_3_3")
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with results, ground truth, audio, annotations, FGD encoder and speeds."""
    root = tmp_path_factory.mktemp("evaluate")
    (root / "audio").mkdir()
    for seed, name in enumerate(NAMES):
        frames = 180 + 20 * seed
        truth = smooth_motion(seed, frames)
        noise = smooth_motion(50 + seed, frames, scale=0.02)
        truth.write(root / "results" / f"gt_{name}.npz")
        result = replace(truth, poses=truth.poses + noise.poses)
        result.write(root / "results" / f"res_{name}.npz")
        soundfile.write(root / "audio" / f"{name}.wav", clicks(frames), 16_000)
    (root / "sem").mkdir()
    (root / "sem" / f"{NAMES[0]}.txt").write_text(
        "01_beat_align\t0\t3\t3\t0.1\n07_iconic_h\t3\t5\t2\t0.7\tbig\n"
    )
    torch.manual_seed(0)
    (root / "fgd").mkdir()
    save_fgd_encoder(root / "fgd", FGDEncoder(20))
    np.save(root / "speeds.npy", np.full(55, 0.1))
    return root


def _run(result: Path, truth: Path, audio: Path, *options: object) -> Result:
    arguments = [result, "--truth", truth, "--audio", audio, "--body", stand_in_file(), *options]
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )


@pytest.fixture(scope="module")
def on_folders(folders: Path) -> Run:
    """Return a function that scores folders with every option, and with those given."""
    inputs = [
        *("--sem", folders / "sem"),
        *("--fgd", folders / "fgd"),
        *("--mean-velocity", folders / "speeds.npy"),
    ]

    def run(*options: object, result: Path = folders / "results") -> Result:
        return _run(result, folders / "results", folders / "audio", *inputs, *options)

    return run


def test_single_files_are_scored(folders: Path) -> None:
    name = NAMES[0]
    out = _run(
        folders / "results" / f"res_{name}.npz",
        folders / "results" / f"gt_{name}.npz",
        folders / "audio" / f"{name}.wav",
        "--json",
    )
    assert out.exit_code == 0
    scores = json.loads(out.stdout)
    rows = scores["rows"]
    assert rows["ground_truth"]["mse"]["published"] == 0 < rows["result"]["mse"]["published"]
    assert rows["result"]["fgd"]["published"] is None, "no encoder was given"
    assert scores["fidelity"] is None


def test_notes_name_the_inputs_that_are_missing(folders: Path) -> None:
    name = NAMES[0]
    out = _run(
        folders / "results" / f"res_{name}.npz",
        folders / "results" / f"gt_{name}.npz",
        folders / "audio" / f"{name}.wav",
    )
    for words in ("stand-in body", "FGD is not computed", "speeds of the ground truth given"):
        assert words in out.stderr


def test_files_of_different_clips_get_a_note(folders: Path) -> None:
    out = _run(
        folders / "results" / f"res_{NAMES[1]}.npz",
        folders / "results" / f"gt_{NAMES[0]}.npz",
        folders / "audio" / f"{NAMES[0]}.wav",
    )
    assert f"res_{NAMES[1]}.npz is scored against gt_{NAMES[0]}.npz" in out.stderr
    assert "check that they are of the same clip" in out.stderr


def test_ground_truth_given_as_result_scores_as_ground_truth(folders: Path) -> None:
    truth = folders / "results" / f"gt_{NAMES[0]}.npz"
    out = _run(truth, truth, folders / "audio" / f"{NAMES[0]}.wav", "--json")
    rows = json.loads(out.stdout)["rows"]
    assert rows["result"] == rows["ground_truth"]


@pytest.mark.parametrize(
    ("frames", "seconds", "named"),
    [
        (180, 6, None),
        (120, 6, None),
        (60, 6, "result_1, 60 frames against 180"),
        (180, 3, "90 frames of audio"),
    ],
)
def test_a_note_names_clips_that_were_scored_in_part(
    folders: Path, tmp_path: Path, frames: int, seconds: int, named: str | None
) -> None:
    """Users must see that a method wrote only the first part of each clip."""
    source = folders / "results" / f"gt_{NAMES[0]}.npz"
    SmplxMotion.read(source)[:frames].write(tmp_path / "result_1.npz")
    soundfile.write(tmp_path / "audio.wav", clicks(180)[: seconds * 16_000], 16_000)
    out = _run(tmp_path / "result_1.npz", source, tmp_path / "audio.wav", "--json")
    notes = json.loads(out.stdout)["notes"]
    on_lengths = [note for note in notes if "frames" in note and "FGD" not in note]
    if named is None:
        assert on_lengths == []
    else:
        (note,) = on_lengths
        assert named in note


def test_folders_are_printed_as_markdown(on_folders: Run) -> None:
    out = on_folders()
    assert out.exit_code == 0
    field, motion = out.stdout.split("\n\n")
    cells = _cells(field)
    assert cells[0][:3] == ["method", "variant", "FGD (1e-1)‡"]
    assert [row[1] for row in cells if row[0] == "ground_truth"] == [
        "published",
        "corrected",
        "evaltools",
    ]
    (published,) = [row for row in cells if row[:2] == ["result", "published"]]
    assert "[" in published[2], "an interval"
    rows = {row[0]: row[2:] for row in _cells(motion)}
    assert rows["motion"] == ["ground_truth", "result"]
    assert rows["Correlation, lower body"][0].startswith("1.000")
    assert "[" in rows["Range, root (cm)"][1], "an interval"
    assert "inflated and not comparable" in out.stderr
    assert "† measured on the stand-in body and not on SMPL-X: not comparable" in out.stderr
    assert "‡ measured with an FGD encoder that was trained here and not" in out.stderr
    assert {"Foot skating (cm/s)†", "Range, root (cm)"} < set(rows), "only feet need a body"


def test_csv_names_body_and_encoder_of_each_value(on_folders: Run) -> None:
    lines = list(csv.DictReader(io.StringIO(on_folders("--format", "csv").stdout)))
    found = {line["metric"]: line["measured_with"] for line in lines}
    assert found["fgd"] == "home-made FGD encoder"
    assert found["bc"] == "stand-in body"
    assert found["range_lower"] == ""


def _cells(markdown: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.strip().splitlines()
    ]


def test_folders_are_printed_as_latex(on_folders: Run) -> None:
    field, motion = on_folders("--format", "LaTeX").stdout.split("\n\n")
    assert field.startswith(r"\begin{tabular}{llrrrrrrr}")
    assert motion.startswith(r"\begin{tabular}{llrr}")
    for table, columns in ((field, 9), (motion, 4)):
        assert r"ground\_truth" in table
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert {line.count("&") for line in rows} == {columns - 1}


def test_csv_and_json_hold_the_same_values(on_folders: Run) -> None:
    table = list(csv.DictReader(io.StringIO(on_folders("--format", "csv").stdout)))
    scores = json.loads(on_folders("--json").stdout)
    for line in table:
        value = scores["rows"][line["method"]][line["metric"]][line["variant"]]
        assert (line["value"] == "") == (value is None)
        if value is not None:
            assert float(line["value"]) == value
        if line["low"]:
            assert float(line["low"]) <= value <= float(line["high"])
    assert {line["clip"] for line in scores["per_clip"]} == set(NAMES)
    with_interval = {line["metric"] for line in table if line["method"] == "result" and line["low"]}
    assert with_interval >= {"fgd", "kid", "bc", "l1div", "mse", "lvd", "range_lower", "root_drift"}
    assert not with_interval & {"srgr", "penetration_deepest"}, "one clip, and a maximum"


def test_intervals_weigh_clips_as_the_mean_does(
    on_folders: Run, folders: Path, tmp_path: Path
) -> None:
    """SRGR weighs clips by their annotations: the only good clip weighs 100 times the others."""
    heavy, *light = NAMES
    results, sem = tmp_path / "results", tmp_path / "sem"
    sem.mkdir()
    for name in NAMES:
        truth = SmplxMotion.read(folders / "results" / f"gt_{name}.npz")
        offset = np.float32(0.0 if name == heavy else 0.4)
        replace(truth, poses=truth.poses + offset).write(results / f"res_{name}.npz")
        score = 1.0 if name == heavy else 0.01
        (sem / f"{name}.txt").write_text(f"10_metaphoric_h\t0\t600\t600\t{score}\tword\n")
    scores = json.loads(on_folders("--sem", sem, "--json", result=results).stdout)
    recalled = {
        line["clip"]: line["srgr_corrected"]
        for line in scores["per_clip"]
        if line["row"] == "result"
    }
    assert max(recalled[name] for name in light) < 0.8 < recalled[heavy]
    low, high = scores["intervals"]["result"]["srgr"]["corrected"]
    assert low <= scores["rows"]["result"]["srgr"]["corrected"] <= high


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("mocap_frame_rate", np.array(60), "mocap_frame_rate: expected 30, found 60"),
        ("poses", np.full((180, 165), np.nan, np.float32), "poses: expected finite numbers"),
        ("trans", np.full((180, 3), np.inf), "trans: expected finite numbers"),
    ],
)
def test_motion_that_cannot_be_scored_is_an_input_error(
    folders: Path, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    source = folders / "results" / f"gt_{NAMES[0]}.npz"
    with np.load(source) as arrays:
        np.savez(tmp_path / "bad.npz", **(dict(arrays) | {key: value}))
    with pytest.raises(InputError, match=message):
        _run(tmp_path / "bad.npz", source, folders / "audio" / f"{NAMES[0]}.wav")


def test_an_unknown_format_is_an_input_error(on_folders: Run) -> None:
    with pytest.raises(InputError, match="markdown, latex, csv"):
        on_folders("--format", "excel")


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--mean-velocity", b"no array", r"speeds\.npy: expected"),
        ("--fgd", b"no checkpoint", r"speeds\.npy: expected"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_input_error(
    folders: Path, tmp_path: Path, option: str, content: bytes, message: str
) -> None:
    """A file, and not a folder, is taken for the published FGD encoder."""
    path = tmp_path / "speeds.npy"
    path.write_bytes(content)
    name = NAMES[0]
    with pytest.raises(InputError, match=message):
        _run(
            folders / "results" / f"res_{name}.npz",
            folders / "results" / f"gt_{name}.npz",
            folders / "audio" / f"{name}.wav",
            option,
            path,
        )
