"""Stage render: render generated motion beside ground truth, as videos and pictures."""

from typing import Any, Final

from mambatalk.evaluation.baselines import stored_motion
from mambatalk.features.store import open_features
from mambatalk.files import atomic_directory
from mambatalk.motion.body import load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.rendering.comparison import render_preview, render_still, render_video
from tasks.runtime.context import StageContext
from tasks.runtime.stage import stage_command

PREVIEW: Final = "preview.webp"


def run(context: StageContext) -> None:
    """Write videos and stills of the first clips, in the order of their ids.

    The files are `renders/ID.mp4`, `renders/ID.png`, and `renders/preview.webp` of the first clip,
    a short animation that a README can show.
    """
    paths = context.paths
    section = context.config.render
    store = open_features(paths.features)
    body = load_body(paths.resolve(context.config.body.path))
    clips = {clip.clip_id: clip for clip in store.clips}
    with atomic_directory(paths.renders) as out:
        for k, path in enumerate(sorted(paths.results.glob("*.npz"))[: section.clips]):
            clip = clips[path.stem]
            waveform = store.waveform(clip)
            motions: dict[str, Any] = {
                "generated": SmplxMotion.read(path),
                "truth": stored_motion(store, clip),
                "body": body,
            }
            limits: dict[str, Any] = {"seconds": section.seconds, "size": section.height}
            render_video(out / f"{path.stem}.mp4", waveform=waveform, **motions, **limits)
            render_still(out / f"{path.stem}.png", **motions, **limits)
            if k == 0:
                render_preview(out / PREVIEW, waveform=waveform, **motions)
    context.recorder.artifact(paths.renders)


def main() -> None:
    """Run the stage."""
    stage_command("render", run, __doc__)


if __name__ == "__main__":
    main()
