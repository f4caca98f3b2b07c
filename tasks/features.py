"""Stage features: accepted clips to motion, audio and word features."""

from mambatalk.config import Config
from mambatalk.fidelity import FidelityRules
from mambatalk.files import atomic_directory, read_json
from tasks.runtime.paths import ACCEPTED, CLIPS, FEATURES
from tasks.runtime.stage import stage_command, threads, workers
from tasks.tracking.recorder import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write `data/features` from the clips that `check_clips` accepted."""
    # Here, since every worker process imports this module again.
    from mambatalk.clips.store import ClipStore
    from mambatalk.features.build import build_features
    from mambatalk.motion.body import load_body
    from mambatalk.runtime import make_deterministic

    make_deterministic(0, threads())
    with atomic_directory(FEATURES) as out:
        build_features(
            ClipStore(CLIPS),
            read_json(ACCEPTED)["accepted"],
            out,
            body=load_body(config.body.path),
            config=config.features,
            rules=FidelityRules.of(config.fidelity),
            workers=workers(),
        )
    recorder.metrics(read_json(FEATURES / "features.json"))
    recorder.artifact(FEATURES / "features.json")
    recorder.artifact(FEATURES / "vocabulary.json")


def main() -> None:
    """Run under DVC."""
    stage_command("features", run, __doc__)


if __name__ == "__main__":
    main()
