"""Scoring clips: the structure of metrics.json, and the values of its rows."""

import json
import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mambatalk.errors import InputError
from mambatalk.evaluation.score import Evaluation, TruthClip
from mambatalk.metrics.catalogue import KID, METRICS, MOTION
from mambatalk.metrics.frechet import frechet_distance, gaussian_of_sums
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import PARTS
from tests.helpers.motions import clicks, smooth_motion
from tests.helpers.stand_in_body import stand_in_body

Scored = tuple[dict[str, Any], list[dict[str, Any]]]
"""Content of metrics.json, and the per-clip table."""


def _evaluation(*, latent: int | None = 20, speeds: bool = True) -> Evaluation:
    torch.manual_seed(0)
    return Evaluation(
        body=stand_in_body(),
        mean_velocity=np.full(55, 0.1) if speeds else None,
        fgd_encoder=FGDEncoder(latent) if latent else None,
        fidelity="corrected",
    )


def _clip(seed: int, frames: int = 200, **extra: Any) -> TruthClip:
    return TruthClip(
        name=f"1_clip_0_{seed}_{seed}",
        motion=smooth_motion(seed, frames),
        waveform=clicks(frames),
        **extra,
    )


def _noisy(motion: SmplxMotion, scale: float) -> SmplxMotion:
    random = np.random.default_rng(0)
    turned = random.normal(0, scale, motion.poses.shape).astype(np.float32)
    face = random.normal(0, 10 * scale, motion.expressions.shape).astype(np.float32)
    return replace(motion, poses=motion.poses + turned, expressions=motion.expressions + face)


@pytest.fixture(scope="module")
def scored() -> Scored:
    evaluation = _evaluation()
    annotations = [SimpleNamespace(start=0.0, end=3.0, score=0.7)]
    table = []
    for seed in range(4):
        truth = _clip(seed, 200 + 20 * seed, semantics=annotations if seed else None)
        near, far = (_noisy(truth.motion, scale) for scale in (0.002, 0.05))
        table += evaluation.add(truth, {"model": near, "random_clip": far})
    return evaluation.result(), table


def test_the_result_has_the_structure_of_metrics_json(scored: Scored) -> None:
    result, _ = scored
    assert set(result) == {
        "rows",
        "event_f1",
        "event_f1_lower",
        "clips",
        "frames",
        "fgd_rows",
        "body",
        "fgd_encoder",
        "fidelity",
        "warnings",
    }
    assert set(result["rows"]) == {"ground_truth", "model", "random_clip"}
    for row in result["rows"].values():
        assert set(row) == {*METRICS, KID.key, *MOTION}
        assert all({"published", "corrected"} <= set(variants) for variants in row.values())
    assert (result["clips"], result["frames"], result["body"]) == (
        4,
        200 + 220 + 240 + 260,
        "stand-in",
    )
    assert result["fgd_rows"] == sum(n // 32 * 2 for n in (200, 220, 240, 260))
    json.dumps(result, allow_nan=False)


def test_ground_truth_has_no_error_but_the_noise_floor_of_fgd(scored: Scored) -> None:
    truth = scored[0]["rows"]["ground_truth"]
    for metric in ("mse", "lvd"):
        assert truth[metric] == {"published": 0.0, "corrected": 0.0}
    assert truth["srgr"]["corrected"] == pytest.approx(1)
    assert truth["fgd"]["corrected"] > 0


@pytest.mark.parametrize("metric", ["fgd", "mse", "lvd"])
@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_motion_closer_to_the_truth_scores_better(
    scored: Scored, metric: str, variant: str
) -> None:
    rows = scored[0]["rows"]
    assert 0 < rows["model"][metric][variant] < rows["random_clip"][metric][variant]


def test_the_table_has_one_line_per_clip_and_row(scored: Scored) -> None:
    result, table = scored
    assert [(line["clip"], line["row"]) for line in table[:3]] == [
        ("1_clip_0_0_0", row) for row in ("ground_truth", "model", "random_clip")
    ]
    lines = [line for line in table if line["row"] == "model"]
    frames = [line["frames"] for line in lines]
    mean = np.average([line["mse_published"] for line in lines], weights=frames)
    assert result["rows"]["model"]["mse"]["published"] == pytest.approx(mean)
    assert lines[0]["srgr_published"] is None
    assert lines[1]["srgr_published"] is not None


def test_too_few_feature_rows_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    evaluation = _evaluation()
    evaluation.add(_clip(0), {"model": smooth_motion(1)})
    with caplog.at_level(logging.WARNING):
        result = evaluation.result()
    assert "12 feature rows in 20 dimensions" in result["warnings"][0]
    assert result["warnings"][0] in caplog.text


def test_the_noise_floor_compares_every_second_clip_with_the_rest() -> None:
    evaluation = _evaluation()
    encoder = evaluation.encoder
    assert encoder is not None
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for seed in range(4):
        truth = _clip(seed)
        evaluation.add(truth, {"model": truth.motion})
        pose = evaluation.poser.pose(truth.motion[:192], truth.motion.betas).pose_without_eyes
        with torch.no_grad():
            sides[seed % 2].append(encoder(pose[None])[0].double().numpy())
    a, b = (np.concatenate(side) for side in sides)
    gaussians = [gaussian_of_sums(np.float64(len(x)), x.sum(0), x.T @ x) for x in (a, b)]
    rows = evaluation.result()["rows"]
    assert rows["ground_truth"]["fgd"]["corrected"] == pytest.approx(
        frechet_distance(*gaussians), rel=1e-6
    )
    assert rows["model"]["fgd"]["corrected"] == pytest.approx(0, abs=1e-6)


def test_metrics_without_each_clip_are_those_of_the_other_clips() -> None:
    truths = [_clip(seed, 200 + 20 * seed) for seed in range(4)]
    whole, rest = _evaluation(), _evaluation()
    for k, truth in enumerate(truths):
        motions = {"model": _noisy(truth.motion, 0.02)}
        whole.add(truth, motions)
        if k != 2:
            rest.add(truth, motions)
    left_out = whole.without_each()
    assert len(left_out) == 4
    expected = rest.result()["rows"]["model"]
    for key, value in left_out[2]["model"].items():
        assert value == pytest.approx(expected[key]["corrected"], rel=1e-6), key
    assert {"fgd", "kid", "bc", "range_lower"} <= set(left_out[2]["model"])
    assert left_out[2]["ground_truth"]["fgd"] is None


def test_undefined_metrics_are_null() -> None:
    evaluation = _evaluation(latent=None, speeds=False)
    evaluation.add(_clip(0), {"model": smooth_motion(1)})
    evaluation.add(_clip(1, semantics=[]), {"model": smooth_motion(2)})
    result = evaluation.result()
    for row in result["rows"].values():
        for metric in ("fgd", "kid", "bc", "srgr"):
            assert {"published", "corrected"} <= set(row[metric])
            assert set(row[metric].values()) == {None}
    assert (result["fgd_rows"], result["event_f1"]["model"], result["warnings"]) == (0, None, [])


def test_metrics_of_the_field_do_not_depend_on_translation() -> None:
    moved = smooth_motion(0)
    moved = replace(moved, trans=moved.trans + 3)
    plain, shifted = _evaluation(), _evaluation()
    plain.add(_clip(0), {"model": smooth_motion(0)})
    shifted.add(_clip(0), {"model": moved})
    here, there = (one.result()["rows"]["model"] for one in (plain, shifted))
    assert {key: here[key] for key in METRICS} == {key: there[key] for key in METRICS}
    assert there["height_error"]["corrected"] == pytest.approx(3, abs=1e-4)


def test_corrected_fgd_ignores_the_eyes() -> None:
    truth = smooth_motion(0)
    looking = truth.poses.copy()
    looking[:, 69:75] = 0.3
    evaluation = _evaluation()
    for seed in range(2):
        evaluation.add(
            TruthClip(
                name=str(seed),
                motion=replace(truth, poses=looking),
                waveform=clicks(200),
            ),
            {"model": truth},
        )
    fgd = evaluation.result()["rows"]["model"]["fgd"]
    assert fgd["corrected"] == pytest.approx(0, abs=1e-9)
    assert fgd["published"] > 1e-6


def test_a_shorter_result_is_scored_on_its_own_frames() -> None:
    evaluation = _evaluation()
    truth = _clip(0)
    table = evaluation.add(truth, {"model": truth.motion[:150]})
    assert {line["frames"] for line in table} == {150}
    assert evaluation.result()["rows"]["model"]["mse"]["corrected"] == 0


def test_codes_are_scored_where_a_method_has_some() -> None:
    evaluation = _evaluation(latent=None)
    truth = _clip(0)
    frames = len(truth.motion)
    few = dict.fromkeys(PARTS, torch.zeros(frames, dtype=torch.long))
    many = dict.fromkeys(PARTS, torch.arange(frames) % 10)
    motions = {"model": truth.motion[:150], "mean_pose": truth.motion}
    table = evaluation.add(truth, motions, {"ground_truth": many, "model": few})
    rows = evaluation.result()["rows"]
    for part in PARTS:
        values = {name: row[f"codes_{part}"]["corrected"] for name, row in rows.items()}
        assert values == {
            "ground_truth": pytest.approx(10),
            "model": pytest.approx(1),
            "mean_pose": None,
        }
    assert table[0]["codes_face_corrected"] == pytest.approx(10)


def test_event_f1_is_computed_for_clips_with_events() -> None:
    events = [{"kind": "jaw", "time": t} for t in (1.0, 2.0, 3.0)]
    evaluation = _evaluation(latent=None)
    evaluation.add(_clip(0, events=events), {"model": smooth_motion(1)})
    evaluation.add(_clip(1), {"model": smooth_motion(2)})
    result = evaluation.result()
    assert all(0 <= score <= 1 for score in result["event_f1"].values())
    assert set(result["event_f1_lower"].values()) == {0.0}, "steps of which none is written"


def test_different_methods_for_another_clip_are_an_input_error() -> None:
    evaluation = _evaluation(latent=None)
    evaluation.add(_clip(0), {"model": smooth_motion(1)})
    with pytest.raises(InputError, match="same methods on every clip"):
        evaluation.add(_clip(1), {"other": smooth_motion(1)})


def test_no_clips_or_no_frames_are_an_input_error() -> None:
    with pytest.raises(InputError, match="no clip"):
        _evaluation(latent=None).result()
    empty = smooth_motion(1)[:0]
    with pytest.raises(InputError, match="without frames"):
        _evaluation(latent=None).add(_clip(0), {"model": empty})


def test_enough_feature_rows_give_no_warning() -> None:
    evaluation = _evaluation()
    for seed in range(6):
        # 600 frames have 36 rows of features: 216 rows for 20 dimensions.
        evaluation.add(_clip(seed, 600), {"model": smooth_motion(10 + seed, 600)})
    assert evaluation.result()["warnings"] == []


def test_a_clip_shorter_than_the_encoder_s_stride_has_no_fgd() -> None:
    evaluation = _evaluation()
    evaluation.add(_clip(0, 30), {"model": smooth_motion(1, 30)})
    rows = evaluation.result()["rows"]
    assert rows["model"]["fgd"]["corrected"] is None
    assert rows["model"]["mse"]["corrected"] > 0
