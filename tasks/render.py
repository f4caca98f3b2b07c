"""Stage render: render generated motion beside ground truth, as videos and pictures."""

from typing import Any, Final

import numpy as np

from mambatalk.corpus.textgrid import Interval
from mambatalk.evaluation.baselines import stored_motion
from mambatalk.features.store import ClipInfo, FeatureStore, open_features
from mambatalk.files import atomic_directory, read_json, write_json
from mambatalk.motion.body import load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.rendering.comparison import render_preview, render_still, render_video
from mambatalk.text.vocabulary import PAD, UNKNOWN
from mambatalk.viewer.clips import embedded_clip
from tasks.runtime.context import StageContext
from tasks.runtime.stage import stage_command

PREVIEW: Final = "preview.webp"
PLAYER: Final = "player.json"
STILL: Final = 2 / 3
"""Height of a figure in a still relative to the height of a video."""


def run(context: StageContext) -> None:
    """Write videos and stills of the first clips, in the order of their ids.

    The files are `renders/ID.mp4` and `renders/ID.png`. The first clip also has
    `renders/preview.webp`, a short animation for a README, and `renders/player.json`, the content
    of the report's player.
    """
    paths = context.paths
    section = context.config.render
    store = open_features(paths.features)
    body = load_body(paths.resolve(context.config.body.path))
    vocabulary = read_json(paths.features / "vocabulary.json")
    clips = {clip.clip_id: clip for clip in store.clips}
    with atomic_directory(paths.renders) as out:
        for k, path in enumerate(sorted(paths.results.glob("*.npz"))[: section.clips]):
            clip = clips[path.stem]
            motions: dict[str, Any] = {
                "generated": SmplxMotion.read(path),
                "truth": stored_motion(store, clip),
                "body": body,
            }
            speech: dict[str, Any] = {
                "waveform": store.waveform(clip),
                "words": _words(store, clip, vocabulary),
            }
            seconds = section.seconds
            height = section.height
            render_video(
                out / f"{path.stem}.mp4", **motions, **speech, seconds=seconds, height=height
            )
            render_still(
                out / f"{path.stem}.png", **motions, seconds=seconds, size=round(STILL * height)
            )
            if k == 0:
                render_preview(out / PREVIEW, **motions, **speech)
                write_json(out / PLAYER, [_played(path.stem, motions, speech, seconds)])
    context.recorder.artifact(paths.renders)


def _played(
    name: str, motions: dict[str, Any], speech: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Return the beginning of a clip with meshes and audio, for the player of the report."""
    generated, truth = motions["generated"], motions["truth"]
    frames = min(len(generated), len(truth), round(seconds * FPS))
    return embedded_clip(
        name,
        motion=generated[:frames],
        truth=truth[:frames],
        body=motions["body"],
        waveform=speech["waveform"][: frames * SAMPLE_RATE // FPS],
        words=[word for word in speech["words"] if word.start < frames / FPS],
    )


def _words(store: FeatureStore, clip: ClipInfo, vocabulary: dict[str, int]) -> list[Interval]:
    """Return the words of a clip with their times; silence has no text, unknown words have dots."""
    texts = {index: word for word, index in vocabulary.items()}
    texts |= {PAD: "", UNKNOWN: "..."}
    ids = store.words[store.frames(clip)]
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    ends = np.append(starts[1:], len(ids))
    return [
        Interval(start / FPS, end / FPS, texts[int(ids[start])])
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def main() -> None:
    """Run the stage."""
    stage_command("render", run, __doc__)


if __name__ == "__main__":
    main()
