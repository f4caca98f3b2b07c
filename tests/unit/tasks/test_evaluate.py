"""The stage evaluate: what is scored of each method."""

from dataclasses import replace
from pathlib import Path

from mambatalk.evaluation.baselines import stored_motion
from mambatalk.evaluation.checks import check_model
from mambatalk.evaluation.score import Evaluation, TruthClip
from mambatalk.metrics.catalogue import GROUND_TRUTH, metric_value
from mambatalk.synthesis.synthesizer import Synthesizer
from tasks.evaluate import _motions, _summary
from tasks.runtime.training_warnings import evaluation_warnings
from tests.helpers.stand_in_body import stand_in_body
from tests.helpers.tiny_bundle import tiny_bundle
from tests.helpers.tiny_training import tiny_store


def test_predicted_motion_is_scored_and_has_no_code_perplexity(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    bundle = tiny_bundle(target="motion")
    bundle = replace(bundle, speakers={clip.speaker_id: clip.speaker_index for clip in store.clips})
    clips = store.clips_in_split("test")
    motions, codes = _motions(Synthesizer(bundle), store, clips, clips[0], seed=0)
    evaluation = Evaluation(
        body=stand_in_body(), mean_velocity=None, fgd_encoder=None, fidelity="corrected"
    )
    truth = TruthClip(
        name=clips[0].clip_id,
        motion=stored_motion(store, clips[0]),
        waveform=store.waveform(clips[0]),
    )
    evaluation.add(truth, motions, codes)
    result = evaluation.result()
    assert metric_value(result, "model", "mse") is not None
    assert metric_value(result, "model", "codes_upper") is None
    assert metric_value(result, GROUND_TRUTH, "codes_upper") is not None
    assert _summary(result)["motion"]["codes_upper_ratio"] is None
    assert check_model(result, evaluation.without_each())
    assert not [text for text in evaluation_warnings(result) if "codes" in text]
