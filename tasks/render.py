"""Stage render: films and stills of generated motion beside ground truth."""

from typing import Any

from mambatalk.config import Config
from mambatalk.evaluation.baselines import stored_motion
from mambatalk.features.store import open_features
from mambatalk.files import atomic_directory
from mambatalk.motion.body import load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.rendering.comparison import render_comparison, render_still
from tasks.runtime.paths import FEATURES, RENDERS, RESULTS
from tasks.runtime.stage import stage_command
from tasks.tracking.recorder import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write `renders/ID.mp4` and `renders/ID.png` of the first clips, in the order of their ids."""
    store, body, section = open_features(FEATURES), load_body(config.body.path), config.render
    clips = {clip.clip_id: clip for clip in store.clips}
    with atomic_directory(RENDERS) as out:
        for path in sorted(RESULTS.glob("*.npz"))[: section.clips]:
            clip = clips[path.stem]
            shown: dict[str, Any] = {
                "generated": SmplxMotion.read(path),
                "truth": stored_motion(store, clip),
                "body": body,
                "seconds": section.seconds,
                "size": section.height,
            }
            render_comparison(out / f"{path.stem}.mp4", wave=store.wave(clip), **shown)
            render_still(out / f"{path.stem}.png", **shown)
    recorder.artifact(RENDERS)


def main() -> None:
    """Run under DVC."""
    stage_command("render", run, __doc__)


if __name__ == "__main__":
    main()
