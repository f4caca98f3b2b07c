"""Stage render: render generated motion beside ground truth, as videos and pictures."""

from typing import Any

from mambatalk.evaluation.baselines import stored_motion
from mambatalk.features.store import open_features
from mambatalk.files import atomic_directory
from mambatalk.motion.body import load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.rendering.comparison import render_still, render_video
from tasks.runtime.context import StageContext
from tasks.runtime.stage import stage_command


def run(context: StageContext) -> None:
    """Write `renders/ID.mp4` and `renders/ID.png` of the first clips, in the order of their ids."""
    paths = context.paths
    section = context.config.render
    store = open_features(paths.features)
    body = load_body(paths.resolve(context.config.body.path))
    clips = {clip.clip_id: clip for clip in store.clips}
    with atomic_directory(paths.renders) as out:
        for path in sorted(paths.results.glob("*.npz"))[: section.clips]:
            clip = clips[path.stem]
            scene: dict[str, Any] = {
                "generated": SmplxMotion.read(path),
                "truth": stored_motion(store, clip),
                "body": body,
                "seconds": section.seconds,
                "size": section.height,
            }
            render_video(out / f"{path.stem}.mp4", waveform=store.waveform(clip), **scene)
            render_still(out / f"{path.stem}.png", **scene)
    context.recorder.artifact(paths.renders)


def main() -> None:
    """Run the stage."""
    stage_command("render", run, __doc__)


if __name__ == "__main__":
    main()
