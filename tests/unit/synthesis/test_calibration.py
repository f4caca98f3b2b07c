"""Means of the network's probabilities: a bias against a code does not keep it from being drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mambatalk.features.store import open_features
from mambatalk.files import read_json
from mambatalk.models.generator.layers import MLP
from mambatalk.synthesis import calibration
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.calibration import calibrated, mean_probabilities, training_speech
from mambatalk.synthesis.chain import CHAINED_PARTS
from mambatalk.synthesis.history_chain import HistoryChain, chains_of_clips
from mambatalk.synthesis.sampling import Sampling
from mambatalk.synthesis.streaming import stream
from mambatalk.synthesis.synthesizer import Synthesizer
from tests.helpers.feature_folder import write_feature_folder
from tests.helpers.speech import noise, speech
from tests.helpers.tiny_bundle import CODES, SPEAKER_IDS, tiny_bundle

REST, STEP = 2, 5
"""Codes of the legs: standing, and what a fifth of the frames have."""
SPEECH = [speech(12), speech(7, speaker_id=SPEAKER_IDS[1])]


def stepping_bundle(bias: float = 0.0) -> Bundle:
    """Return a bundle whose legs step in a fifth of the frames of training.

    Args:
        bias: What the network adds to the logit of steps, whatever is said.

    """
    bundle = tiny_bundle()
    head = bundle.generator.local_scan.to_logits["lower"]
    assert isinstance(head, MLP)
    last = [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1]
    assert last.bias is not None
    # Hardly anything of the speech is left: what remains is what the network expects on average.
    last.weight.mul_(0.01)
    last.bias.zero_()
    last.bias[STEP] += bias
    codes = np.tile(np.repeat([REST, STEP], [20, 5]), 20)
    clips = [(speaker, dict.fromkeys(CHAINED_PARTS, codes)) for speaker in (0, 1)]
    return replace(bundle, chains=chains_of_clips(clips, CODES))


def legs(bundle: Bundle) -> HistoryChain:
    chain = bundle.chains["lower"]
    assert isinstance(chain, HistoryChain)
    return chain


def share_of_steps(bundle: Bundle) -> float:
    """Return the share of frames with steps, over some draws of half a minute of speech."""
    shares = []
    for seed in range(2):
        (codes,) = Synthesizer(bundle, sampling=Sampling(seed=seed)).generate_codes([speech(30)])
        shares.append(float((codes["lower"] == STEP).float().mean()))
    return float(np.mean(shares))


@pytest.mark.parametrize("bias", [-4.0, 4.0])
def test_a_biased_network_steps_as_often_as_training(bias: float) -> None:
    biased = stepping_bundle(bias)
    assert share_of_steps(calibrated(biased, SPEECH)) == pytest.approx(0.2, abs=0.05)


def test_without_means_the_bias_remains() -> None:
    few, many = (share_of_steps(stepping_bundle(bias)) for bias in (-4.0, 4.0))
    assert few < 0.12
    assert many > 0.28


def test_the_means_are_those_of_all_generated_frames() -> None:
    bundle = stepping_bundle(-4.0)
    mean = legs(calibrated(bundle, SPEECH)).mean
    assert mean is not None
    assert mean.shape == (CODES,)
    # Frames of the context, or past the end of a clip, would change the sum.
    assert float(mean.sum()) == pytest.approx(1, abs=1e-5)
    network = bundle.generator.local_scan.to_logits["lower"]
    expected = torch.zeros(CODES)
    expected[STEP] = -4
    assert isinstance(network, MLP)
    torch.testing.assert_close(mean, expected.softmax(0), atol=0.01, rtol=0)


def test_each_clip_counts_by_its_length() -> None:
    synthesizer = Synthesizer(tiny_bundle(), precision="single")
    long, short = (mean_probabilities(synthesizer, [each], ["lower"])["lower"] for each in SPEECH)
    both = mean_probabilities(synthesizer, SPEECH, ["lower"])["lower"]
    assert not torch.allclose(long, short, atol=1e-5)
    torch.testing.assert_close(both, (12 * long + 7 * short) / 19, atol=1e-6, rtol=0)


def test_alone_in_a_batch_and_as_a_stream_the_legs_are_the_same() -> None:
    synthesizer = Synthesizer(calibrated(stepping_bundle(-4.0), SPEECH))
    alone = synthesizer.generate_codes([speech(5)])[0]["lower"]
    batch = synthesizer.generate_codes([speech(9), speech(5)])[1]["lower"]
    assert torch.equal(batch, alone)
    pieces = list(stream(synthesizer, [noise(5)], speaker_id=SPEAKER_IDS[0]))
    streamed = np.concatenate([piece.poses for piece in pieces])
    np.testing.assert_allclose(streamed, synthesizer.generate(speech(5)).poses, atol=1e-4)


def test_a_stored_bundle_keeps_its_means_and_its_digest_covers_them(tmp_path: Path) -> None:
    plain = stepping_bundle(-4.0)
    for name, bundle in (("plain", plain), ("calibrated", calibrated(plain, SPEECH))):
        bundle.save(tmp_path / name)
    before, after = (legs(Bundle.load(tmp_path / name)) for name in ("plain", "calibrated"))
    assert before.mean is None
    expected = legs(calibrated(plain, SPEECH)).mean
    assert expected is not None
    assert after.mean is not None
    assert torch.equal(after.mean, expected)
    digests = {
        read_json(tmp_path / name / "bundle.json")["digest"] for name in ("plain", "calibrated")
    }
    assert len(digests) == 2


def test_models_that_draw_no_codes_as_sequences_have_no_means() -> None:
    # An imported model has no chains, published synthesis uses none, and motion has no codes.
    chained = stepping_bundle()
    motion = tiny_bundle(target="motion")
    for bundle in (
        tiny_bundle(),
        replace(chained, fidelity="published"),
        replace(motion, chains=chained.chains),
    ):
        assert calibrated(bundle, SPEECH) is bundle


def test_training_speech_is_ten_minutes_of_the_training_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = ["train", "train", "val", "train", "train", "test"]
    folder = write_feature_folder(
        tmp_path / "features", seconds=[2, 3, 4, 5, 6, 7], splits=splits, ctc=(0,)
    )
    store = open_features(folder, tmp_path / "cache")
    whole = training_speech(store)
    assert [one.frame_count for one in whole] == [60, 90, 150, 180]
    first, clip = whole[0], store.clips_in_split("train")[0]
    assert first.speaker_id == clip.speaker_id
    np.testing.assert_array_equal(first.waveform, store.waveform(clip))
    np.testing.assert_array_equal(first.words, store.words[store.frames(clip)])
    assert first.ctc is not None
    assert whole[1].ctc is None

    # The clip with which the limit is reached is the last.
    monkeypatch.setattr(calibration, "MAX_FRAMES", 61)
    assert [one.frame_count for one in training_speech(store)] == [60, 90]
