"""Quality against delay: one point for each pace, as a table and a plot."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambatalk.evaluation.baselines import stored_motion
from mambatalk.evaluation.score import Evaluation, TruthClip
from mambatalk.features.store import open_features
from mambatalk.synthesis.layout import Pace
from mambatalk.synthesis.streaming import stream_delay
from mambatalk.synthesis.synthesizer import Synthesizer
from tasks.tools.delays import Point, measure, plot, table
from tests.helpers.feature_folder import write_feature_folder
from tests.helpers.stand_in_body import stand_in_body
from tests.helpers.tiny_bundle import tiny_bundle


def _point(delay: float, **values: float | None) -> Point:
    metrics = {"event_f1": 0.7, "fgd": 0.5, "bc": 0.06, "diversity": 3.6, "jerk": 1.2, **values}
    return Point(pace="8 + 4", delay=delay, processor_time=0.2, **metrics)


def test_a_pace_is_scored_with_its_delay(tmp_path: Path) -> None:
    store = open_features(
        write_feature_folder(tmp_path / "features", seconds=(3.0,), splits=("test",)),
        tmp_path / "cache",
    )
    (clip,) = store.clips
    bundle = replace(tiny_bundle(), speakers={clip.speaker_id: 0})
    synthesizer = Synthesizer(bundle, pace=Pace(hop=16, look_ahead=8))
    evaluation = Evaluation(
        body=stand_in_body(), mean_velocity=np.ones(55), fgd_encoder=None, fidelity="corrected"
    )
    truth = TruthClip(
        name=clip.clip_id, motion=stored_motion(store, clip), waveform=store.waveform(clip)
    )
    point, result = measure(synthesizer, evaluation, store, [(clip, truth)], words=False)
    assert point.pace == "16 + 8"
    assert point.delay == stream_delay(synthesizer)
    assert (point.fgd, point.event_f1) == (None, None), "no encoder, and no written events"
    assert point.diversity == result["rows"]["model"]["l1div"]["corrected"] > 0
    assert point.processor_time > 0


def test_the_table_is_markdown_with_a_dash_for_what_is_undefined() -> None:
    lines = table([_point(0.6), _point(1.25, fgd=None)]).splitlines()
    assert len(lines) == 4
    assert [cell.strip() for cell in lines[2].split("|")[1:4]] == ["8 + 4", "0.60", "0.700"]
    assert lines[3].split("|")[4].strip() == "–"


@pytest.mark.parametrize("fgd", [0.5, None])
def test_the_plot_is_a_picture(tmp_path: Path, fgd: float | None) -> None:
    plot([_point(0.3, fgd=fgd), _point(1.0, fgd=fgd)], tmp_path / "delays.png")
    with Image.open(tmp_path / "delays.png") as picture:
        assert picture.size == (1000, 240)


def test_a_value_of_zero_is_drawn_and_a_missing_one_is_not(tmp_path: Path) -> None:
    for name, value in (("zero", 0.0), ("missing", None)):
        plot([_point(0.3, event_f1=value), _point(1.0, event_f1=value)], tmp_path / f"{name}.png")
    assert (tmp_path / "zero.png").read_bytes() != (tmp_path / "missing.png").read_bytes()
