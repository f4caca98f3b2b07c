"""Stage features: compute motion, audio and text features of the accepted clips."""

from mambatalk.fidelity import FidelityRules
from mambatalk.files import atomic_directory, read_json
from tasks.runtime.context import StageContext
from tasks.runtime.stage import stage_command, threads, workers


def run(context: StageContext) -> None:
    """Write `data/features` from the clips that the stage check_clips accepted."""
    # Here, because every worker process imports this module again.
    from mambatalk.clips.store import ClipStore
    from mambatalk.features.build import build_features
    from mambatalk.motion.body import load_body
    from mambatalk.runtime import make_deterministic

    make_deterministic(0, threads())
    config = context.config
    paths = context.paths
    with atomic_directory(paths.features) as out:
        build_features(
            ClipStore(paths.clips),
            read_json(paths.accepted)["accepted"],
            out,
            body=load_body(paths.resolve(config.body.path)),
            config=config.features,
            rules=FidelityRules.of(config.fidelity),
            workers=workers(),
        )
    context.recorder.metrics(read_json(paths.features / "features.json"))
    context.recorder.artifact(paths.features / "features.json")
    context.recorder.artifact(paths.features / "vocabulary.json")


def main() -> None:
    """Run the stage."""
    stage_command("features", run, __doc__)


if __name__ == "__main__":
    main()
