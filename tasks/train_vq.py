"""Stage train_vq: train one of the five motion auto-encoders, `python -m tasks.train_vq face`."""

from functools import partial
from typing import Annotated

import typer

from mambatalk.features.store import open_features
from mambatalk.fidelity import FidelityRules
from mambatalk.models.vq.storage import save_auto_encoder
from mambatalk.motion.body import load_body
from mambatalk.motion.skeleton import PART_DIMS, AutoEncoderName
from mambatalk.runtime import make_deterministic
from mambatalk.training.context import TrainContext
from mambatalk.training.modules.vq import train_auto_encoder
from tasks.runtime.command import run_command
from tasks.runtime.context import StageContext
from tasks.runtime.publish import publish_training
from tasks.runtime.stage import HELP_EPILOG, execute, threads
from tasks.tracking.models import example_motion, packed_model


def run(context: StageContext, *, part: AutoEncoderName) -> None:
    """Write `models/vq/PART`, its curve and its final metrics."""
    from tasks.tracking import pyfunc_auto_encoder

    config = context.config
    section = config.train_vq
    make_deterministic(config.seed, threads())
    trained = train_auto_encoder(
        part,
        open_features(context.paths.features),
        load_body(context.paths.resolve(config.body.path)),
        common=section.common,
        config=section.network(part),
        mesh_vertices=config.body.mesh_vertices,
        mesh_frames=config.body.mesh_frames,
        rules=FidelityRules.of(config.fidelity),
        seed=config.seed,
        context=TrainContext(
            device=context.device, scratch=context.scratch, tracker=context.recorder
        ),
    )
    folder = context.paths.vq / part
    example = {"motion": example_motion(PART_DIMS[part])}
    publish_training(
        context,
        trained,
        folder=folder,
        save=lambda out: save_auto_encoder(out, part, trained.network),
        model=packed_model(part, pyfunc_auto_encoder, folder, example=example),
    )


def main() -> None:
    """Run the stage for the part named on the command line."""

    def command(part: Annotated[AutoEncoderName, typer.Argument(help="Part of the body.")]) -> None:
        raise typer.Exit(execute(f"train_vq@{part}", partial(run, part=part)))

    run_command(command, "tasks.train_vq", __doc__, epilog=HELP_EPILOG)


if __name__ == "__main__":
    main()
