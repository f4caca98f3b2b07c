"""Mean probability that the generator gives each code, measured on training speech.

A network gives rare codes less probability than their share in training: on the sample, the codes
of steps get a quarter to a third of it. A chain that divides the probabilities by the shares
therefore rarely steps. Divided by their own means, the probabilities say where the network expects
a code more than elsewhere, and a bias of the network cancels. docs/experiments.md compares both.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from mambatalk.models.generator.network import GeneratorOutput
from mambatalk.motion.skeleton import Part
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.encoding import encoded_windows
from mambatalk.synthesis.history_chain import HistoryChain
from mambatalk.synthesis.layout import ClipInputs, Speech
from mambatalk.synthesis.synthesizer import Synthesizer

if TYPE_CHECKING:
    from mambatalk.features.store import FeatureStore

MAX_FRAMES: Final = 18_000
"""Frames of speech that are measured, ten minutes, which bounds the time on a large corpus."""


def calibrated(bundle: Bundle, speeches: Sequence[Speech]) -> Bundle:
    """Return the bundle with the means that the chains of the legs divide by (`HistoryChain.mean`).

    A bundle whose synthesis draws no codes under such a chain is returned as it is.

    Args:
        bundle: The model, with chains that have no means yet, on the device that does the work.
        speeches: Training speech.

    """
    synthesizer = Synthesizer(bundle, precision="single")
    chains = {
        part: chain
        for part, chain in synthesizer.choice.chains.items()
        if isinstance(chain, HistoryChain)
    }
    if not chains or not speeches:
        return bundle
    means = mean_probabilities(synthesizer, speeches, tuple(chains))
    measured = {part: replace(chain, mean=means[part]) for part, chain in chains.items()}
    return replace(bundle, chains={**bundle.chains, **measured})


@torch.inference_mode()
def mean_probabilities(
    synthesizer: Synthesizer, speeches: Sequence[Speech], parts: Sequence[Part]
) -> dict[Part, Tensor]:
    """Return the mean probability (K,) that the generator gives each code of some parts.

    Each window follows the generated motion of the one before, as in synthesis.

    Args:
        synthesizer: Corrected synthesis.
        speeches: Training speech, at least one clip.
        parts: Parts with a codebook.

    """
    totals: dict[Part, Tensor] = {}
    frames = 0
    for speech in speeches:
        frames += speech.frame_count
        for new, output in _outputs(synthesizer, speech):
            for part in parts:
                expected = output.logits[part][0, new].double().softmax(dim=-1).sum(dim=0)
                totals[part] = totals[part] + expected if part in totals else expected
    return {part: (total / frames).float() for part, total in totals.items()}


def _outputs(synthesizer: Synthesizer, speech: Speech) -> Iterator[tuple[slice, GeneratorOutput]]:
    """Yield the output for each window of a clip, and which of its frames are new."""
    layout = synthesizer.layout
    frames = speech.frame_count
    state = synthesizer.start(
        synthesizer.initial_motion(speech.initial_motion)[None],
        torch.tensor([synthesizer.speaker_index(speech.speaker_id)]),
    )
    windows = encoded_windows(
        synthesizer.encode,
        [ClipInputs.of(speech, synthesizer.device, synthesizer.statistics)],
        [layout.count(frames)],
        all_rows=False,
        beside=None,
    )
    for number, window in enumerate(windows):
        output = synthesizer.predict(state, window)
        # The last window reaches beyond the clip.
        yield slice(layout.known_frames(number), frames - layout.first_frame(number)), output
        state = synthesizer.advance(state, synthesizer.choice.choose(output, state))


def training_speech(store: "FeatureStore") -> list[Speech]:
    """Return clips of the training split, one of each speaker in turn, for about ten minutes."""
    # This module imports PyArrow, which reads a corpus and is not installed for synthesis alone.
    from mambatalk.features.windows import clip_ctc

    turns: Counter[int] = Counter()
    ordered = []
    for clip in store.clips_in_split("train"):
        ordered.append((turns[clip.speaker_id], clip))
        turns[clip.speaker_id] += 1
    ordered.sort(key=lambda turn: turn[0])

    speeches: list[Speech] = []
    frames = 0
    for _, clip in ordered:
        if frames >= MAX_FRAMES:
            break
        frames += clip.frames
        tokens = clip_ctc(clip)
        speeches.append(
            Speech(
                waveform=store.waveform(clip),
                speaker_id=clip.speaker_id,
                frames=clip.frames,
                words=store.words[store.frames(clip)],
                ctc=None if tokens is None else tokens.numpy(),
            )
        )
    return speeches
