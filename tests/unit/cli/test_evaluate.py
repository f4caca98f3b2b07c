"""`mambatalk evaluate`: any method's files, one or a folder, scored and laid out."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from mambatalk.cli.evaluate import app
from mambatalk.errors import InputError
from mambatalk.evaluation.intervals import fgd_interval, mean_interval
from mambatalk.evaluation.pairing import pair_files
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.models.fgd.storage import save_fgd_encoder
from mambatalk.motion.clip import SmplxMotion
from tests.helpers.motions import clicks, smooth_motion
from tests.helpers.stand_in_body import stand_in_file

NAMES = ("1_a_0_1_1", "1_a_0_2_2", "2_b_0_1_1", "2_b_0_2_2")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    for seed, name in enumerate(NAMES):
        truth, noise = (
            smooth_motion(seed, 180 + 20 * seed),
            smooth_motion(50 + seed, 180 + 20 * seed, scale=0.02),
        )
        result = replace(truth, poses=truth.poses + noise.poses)
        result.write(root / "results" / f"res_{name}.npz")
        truth.write(root / "results" / f"gt_{name}.npz")
        (root / "audio").mkdir(exist_ok=True)
        soundfile.write(root / "audio" / f"{name}.wav", clicks(len(truth.poses)), 16_000)
    (root / "sem").mkdir()
    (root / "sem" / f"{NAMES[0]}.txt").write_text(
        "01_beat_align\t0\t3\t3\t0.1\n07_iconic_h\t3\t5\t2\t0.7\tbig\n"
    )
    torch.manual_seed(0)
    (root / "fgd").mkdir()
    save_fgd_encoder(root / "fgd", FGDEncoder(20))
    np.save(root / "speeds.npy", np.full(55, 0.1))
    return root


def _run(*arguments):
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )


def _folder_arguments(folders):
    results = folders / "results"
    return [
        results,
        "--truth",
        results,
        "--audio",
        folders / "audio",
        "--body",
        stand_in_file(),
        "--sem",
        folders / "sem",
        "--fgd",
        folders / "fgd",
        "--mean-velocity",
        folders / "speeds.npy",
    ]


def test_one_file_as_data(folders):
    name = NAMES[0]
    out = _run(
        folders / "results" / f"res_{name}.npz",
        "--truth",
        folders / "results" / f"gt_{name}.npz",
        "--audio",
        folders / "audio" / f"{name}.wav",
        "--body",
        stand_in_file(),
        "--json",
    )
    assert out.exit_code == 0
    scores = json.loads(out.stdout)
    rows = scores["rows"]
    assert rows["ground_truth"]["mse"]["published"] == 0 < rows["result"]["mse"]["published"]
    assert rows["result"]["fgd"]["published"] is None, "no encoder was given"
    assert scores["fidelity"] is None
    assert any("stand-in" in note for note in scores["notes"])
    assert any("ground truth given" in note for note in scores["notes"]), (
        "where the joint speeds are from"
    )


def test_a_result_of_itself_is_ground_truth(folders):
    truth = folders / "results" / f"gt_{NAMES[0]}.npz"
    out = _run(
        truth,
        "--truth",
        truth,
        "--audio",
        folders / "audio" / f"{NAMES[0]}.wav",
        "--body",
        stand_in_file(),
        "--json",
    )
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
def test_what_is_cut_is_said(folders, tmp_path, frames, seconds, named):
    """A method that writes the beginning of each clip alone must not look like one that writes all
    of it.
    """
    truth = SmplxMotion.read(folders / "results" / f"gt_{NAMES[0]}.npz")
    truth[:frames].write(tmp_path / "result_1.npz")
    soundfile.write(tmp_path / "sound.wav", clicks(180)[: seconds * 16_000], 16_000)
    out = _run(
        tmp_path / "result_1.npz",
        "--truth",
        folders / "results" / f"gt_{NAMES[0]}.npz",
        "--audio",
        tmp_path / "sound.wav",
        "--body",
        stand_in_file(),
        "--json",
    )
    notes = [
        note for note in json.loads(out.stdout)["notes"] if "frames" in note and "FGD" not in note
    ]
    assert len(notes) == (named is not None)
    assert named is None or named in notes[0]


def test_a_folder_as_markdown(folders):
    out = _run(*_folder_arguments(folders))
    assert out.exit_code == 0
    lines = [line for line in out.stdout.splitlines() if line.startswith("|")]
    assert lines[0].split()[:6] == ["|", "method", "|", "variant", "|", "FGD"]
    assert sum(line.startswith("| ground_truth") for line in lines) == 3
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    (published,) = [row for row in cells if row[:2] == ["result", "published"]]
    assert "[" in published[2]
    assert "inflated and not comparable" in out.stderr


def test_a_folder_as_csv_and_as_data_agree(folders):
    table = list(
        csv.DictReader(io.StringIO(_run(*_folder_arguments(folders), "--format", "csv").stdout))
    )
    scores = json.loads(_run(*_folder_arguments(folders), "--json").stdout)
    for line in table:
        value = scores["rows"][line["method"]][line["metric"]][line["variant"]]
        assert (line["value"] == "") == (value is None)
        if value is not None:
            assert float(line["value"]) == value
        if line["low"]:
            assert float(line["low"]) <= value <= float(line["high"])
    assert {line["clip"] for line in scores["per_clip"]} == set(NAMES)
    known = [line for line in table if line["method"] == "result" and line["low"]]
    assert {line["metric"] for line in known} == {"fgd", "bc", "l1div", "mse", "lvd"}, (
        "one clip has semantics: no SRGR"
    )


def test_a_clip_that_means_more_weighs_more_in_the_interval_too(folders, tmp_path):
    """SRGR weighs clips by what their gestures mean: one clip, the only good one, means a hundred
    times the others.
    """
    heavy, *light = NAMES
    scored, sem = tmp_path / "scored", tmp_path / "sem"
    sem.mkdir()
    for name in NAMES:
        truth = SmplxMotion.read(folders / "results" / f"gt_{name}.npz")
        bad = np.float32(0.0 if name == heavy else 0.4)
        replace(truth, poses=truth.poses + bad).write(scored / f"res_{name}.npz")
        score = 1.0 if name == heavy else 0.01
        (sem / f"{name}.txt").write_text(f"10_metaphoric_h\t0\t600\t600\t{score}\tword\n")
    scores = json.loads(
        _run(scored, *_folder_arguments(folders)[1:], "--sem", sem, "--json").stdout
    )
    recalled = {
        line["clip"]: line["srgr_corrected"]
        for line in scores["per_clip"]
        if line["row"] == "result"
    }
    assert max(recalled[name] for name in light) < 0.8 < recalled[heavy]
    low, high = scores["intervals"]["result"]["srgr"]["corrected"]
    assert low <= scores["rows"]["result"]["srgr"]["corrected"] <= high


def test_a_folder_as_latex(folders):
    out = _run(*_folder_arguments(folders), "--format", "latex").stdout
    assert out.startswith(r"\begin{tabular}{llrrrrrr}")
    assert r"ground\_truth & published" in out
    rows = [line for line in out.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in rows} == {7}


def test_files_are_matched_by_name(folders):
    pairs = pair_files(folders / "results", folders / "results", folders / "audio", folders / "sem")
    assert [pair.name for pair in pairs] == sorted(NAMES)
    for pair in pairs:
        assert pair.result.name == f"res_{pair.name}.npz"
        assert pair.truth.name == f"gt_{pair.name}.npz"
        assert (pair.semantics is not None) == (pair.name == NAMES[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": "audio"}, "no truth of clip"),
        ({"audio": "sem"}, "no audio of clip"),
        ({"result": "sem"}, "found none"),
        ({"audio": "audio/1_a_0_1_1.wav"}, "files and folders mixed"),
        ({"truth": "nowhere"}, "no such file or folder"),
    ],
)
def test_what_does_not_match_is_one_line(folders, change, message):
    given = {"result": "results", "truth": "results", "audio": "audio"} | change
    with pytest.raises(InputError, match=message):
        pair_files(*(folders / path for path in given.values()), None)


def test_two_files_of_one_clip_are_refused(tmp_path):
    for name in ("1_a_0_1_1", "res_1_a_0_1_1"):
        (tmp_path / f"{name}.npz").touch()
    with pytest.raises(InputError, match="two files of one clip"):
        pair_files(tmp_path, tmp_path, tmp_path, None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("mocap_frame_rate", np.array(60), "expected 30, found 60"),
        ("poses", np.full((180, 165), np.nan, np.float32), "poses: expected finite numbers"),
    ],
)
def test_motion_that_cannot_be_scored_is_one_line(folders, tmp_path, key, value, message):
    source = folders / "results" / f"gt_{NAMES[0]}.npz"
    with np.load(source) as arrays:
        np.savez(tmp_path / "bad.npz", **(dict(arrays) | {key: value}))
    with pytest.raises(InputError, match=message):
        _run(
            tmp_path / "bad.npz",
            "--truth",
            source,
            "--audio",
            folders / "audio" / f"{NAMES[0]}.wav",
            "--body",
            stand_in_file(),
        )


def test_an_unknown_layout_is_one_line(folders):
    with pytest.raises(InputError, match="markdown, latex, csv"):
        _run(*_folder_arguments(folders), "--format", "excel")


def test_intervals_narrow_with_more_clips_and_hold_the_mean():
    random = np.random.default_rng(0)
    widths = []
    for clips in (5, 50, 500):
        values = random.normal(1, 0.3, clips)
        low, high = mean_interval([(value, 1.0) for value in values])
        assert low < values.mean() < high
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]
    assert mean_interval([(1.0, 1.0), (None, 1.0)]) is None


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        low, high = mean_interval([(value, 1.0) for value in random.normal(0, 1, 30)])
        held += low < 0 < high
    assert 85 <= held <= 100


def test_fgd_interval_holds_fgd_and_narrows_with_more_clips():
    def interval(clips):
        torch.manual_seed(0)
        generated, truth = (
            [scale * torch.randn(40, 4) for _ in range(clips)] for scale in (1.5, 1.0)
        )
        return fgd_interval(generated, truth)

    few, many = interval(4), interval(40)
    assert many[0] < 4 * 0.25 < many[1], "four dimensions, deviations 1.5 and 1"
    assert many[1] - many[0] < few[1] - few[0]
    assert interval(2) is None
