"""Score champion and challenger together: the same clips, evaluator and baselines."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.config import Config
from mambatalk.evaluation.baselines import mean_pose, random_clip, stored_motion
from mambatalk.evaluation.score import Evaluation, TruthClip
from mambatalk.features.store import ClipInfo, FeatureStore, open_features
from mambatalk.features.windows import clip_ctc
from mambatalk.files import cache_folder, read_json
from mambatalk.models.fgd.storage import load_fgd_encoder
from mambatalk.motion.body import load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.layout import Speech
from mambatalk.synthesis.synthesizer import Synthesizer
from mambatalk.text.vocabulary import UNKNOWN
from tasks.runtime.paths import Paths

MEAN_POSE: Final = "mean_pose"
RANDOM_CLIP: Final = "random_clip"
MIN_UNITS: Final = 15
"""Fewer clips are cut into parts until there are as many: Student's t at 95 % is 2.8 for 5 units,
2.1 for 15 and 2.0 for any number of them."""
MIN_SECONDS: Final = 6.0
"""Shortest part. BC ignores 2 s at each end, and FGD needs a second."""
Vocabulary = Mapping[str, int]


@dataclass(frozen=True)
class Scored:
    """Scores of all models on the clips that all of them can generate."""

    evaluation: Evaluation
    """Scores, in which each part of a clip counts as a clip of its own."""
    clips: list[str]
    parts: list[int]
    """Number of parts of each clip."""
    left_out: dict[str, str]
    """Reason by clip."""


def score_models(
    config: Config, paths: Paths, models: Mapping[str, Bundle], *, not_compared: Mapping[str, str]
) -> Scored:
    """Generate and score the test clips with every model, and with the baselines.

    Args:
        config: Configuration of the checkout.
        paths: Paths of the checkout, whose features, FGD encoder and body are used for all models.
        models: Bundles by name of their row.
        not_compared: Reason by clip that must not be compared.

    """
    store = open_features(paths.features, paths.resolve(cache_folder()))
    vocabulary = read_json(paths.features / "vocabulary.json")
    clips = store.clips_in_split(config.evaluate.split)
    evaluation = Evaluation(
        body=load_body(paths.resolve(config.body.path)),
        mean_velocity=np.load(paths.features / "mean_velocity.npy"),
        fgd_encoder=load_fgd_encoder(paths.fgd),
        fidelity=config.fidelity,
    )
    left_out: dict[str, str] = {}
    for clip in clips:
        reason = not_compared.get(clip.clip_id) or _unknown_speaker(models, clip)
        if reason:
            left_out[clip.clip_id] = reason
    # The limit comes last, so that a clip that is left out does not take the place of another.
    clips = [clip for clip in clips if clip.clip_id not in left_out]
    clips = clips[: config.evaluate.max_clips or None]
    parts = math.ceil(MIN_UNITS / max(len(clips), 1))
    counts: list[int] = []
    for clip in clips:
        truth = TruthClip(
            name=clip.clip_id, motion=stored_motion(store, clip), waveform=store.waveform(clip)
        )
        motions = {
            name: _generate(bundle, store, clip, vocabulary) for name, bundle in models.items()
        }
        motions[MEAN_POSE] = mean_pose(store, clip)
        motions[RANDOM_CLIP] = random_clip(store, clip, seed=config.seed)
        of_clip = list(cut(truth, motions, parts))
        for part, of_part in of_clip:
            evaluation.add(part, of_part)
        counts.append(len(of_clip))
    return Scored(evaluation, [clip.clip_id for clip in clips], counts, left_out)


def cut(
    truth: TruthClip, motions: Mapping[str, SmplxMotion], parts: int
) -> Iterator[tuple[TruthClip, dict[str, SmplxMotion]]]:
    """Cut a clip and its generated motions into parts of equal length.

    Args:
        truth: The recorded clip.
        motions: Motions of the clip.
        parts: Number of parts; fewer if they would be shorter than `MIN_SECONDS`.

    """
    frames = min(len(motion) for motion in (truth.motion, *motions.values()))
    parts = max(1, min(parts, int(frames / (MIN_SECONDS * FPS))))
    borders = [round(frames * k / parts) for k in range(parts + 1)]
    for start, stop in itertools.pairwise(borders):
        samples = slice(*(round(frame * SAMPLE_RATE / FPS) for frame in (start, stop)))
        part = replace(truth, motion=truth.motion[start:stop], waveform=truth.waveform[samples])
        yield part, {name: motion[start:stop] for name, motion in motions.items()}


def _unknown_speaker(models: Mapping[str, Bundle], clip: ClipInfo) -> str:
    unknown = [name for name, bundle in models.items() if clip.speaker_id not in bundle.speakers]
    return f"{' and '.join(unknown)} does not know speaker {clip.speaker_id}" if unknown else ""


def _generate(
    bundle: Bundle, store: FeatureStore, clip: ClipInfo, vocabulary: Vocabulary
) -> SmplxMotion:
    rows = store.frames(clip)
    tokens = clip_ctc(clip)
    context = None
    if not bundle.rules.start_from_rest_pose:
        context = store.motion[rows][: bundle.context_frames]
    speech = Speech(
        waveform=store.waveform(clip),
        speaker_id=clip.speaker_id,
        frames=clip.frames,
        words=translate_words(store.words[rows], vocabulary, bundle.vocabulary),
        initial_motion=context,
        ctc=None if tokens is None else tokens.numpy(),
    )
    # The network does not predict the body shape, so metrics use that of the recording.
    motion = Synthesizer(bundle, precision="single").generate(speech)
    return replace(motion, betas=clip.betas)


def translate_words(
    words: NDArray[np.integer], source: Vocabulary, target: Vocabulary
) -> NDArray[np.int64]:
    """Translate word ids (n,) of the features to those of a bundle's own vocabulary.

    A model that was trained on an earlier snapshot has other ids for the same words.
    """
    table = np.full(max(source.values()) + 1, UNKNOWN, np.int64)
    for word, index in source.items():
        table[index] = target.get(word, UNKNOWN)
    return table[words]
