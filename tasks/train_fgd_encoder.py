"""Stage train_fgd_encoder: train the motion encoder that FGD is measured with, or import it."""

from mambatalk.errors import InputError
from mambatalk.features.store import open_features
from mambatalk.fidelity import FidelityRules
from mambatalk.files import sha256_file
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.models.fgd.storage import save_fgd_encoder
from mambatalk.motion.skeleton import POSE_DIM
from mambatalk.published.fgd import import_fgd_encoder
from mambatalk.runtime import make_deterministic
from mambatalk.training.context import Curve, TrainContext
from mambatalk.training.loop.train import Trained
from mambatalk.training.modules.fgd import train_fgd_encoder
from tasks.runtime.context import StageContext
from tasks.runtime.publish import publish_training
from tasks.runtime.stage import stage_command, threads
from tasks.tracking.models import example_motion, packed_model


def run(context: StageContext) -> None:
    """Write `models/fgd`, its curve and its final metrics."""
    from tasks.tracking import pyfunc_fgd

    published = context.config.train_fgd_encoder.published
    trained = _import(context, published) if published else _train(context)
    folder = context.paths.fgd
    example = {"motion": example_motion(POSE_DIM)}
    publish_training(
        context,
        trained,
        folder=folder,
        save=lambda out: save_fgd_encoder(out, trained.network),
        model=packed_model("fgd_encoder", pyfunc_fgd, folder, example=example),
    )


def _train(context: StageContext) -> Trained[FGDEncoder]:
    config = context.config
    make_deterministic(config.seed, threads())
    return train_fgd_encoder(
        open_features(context.paths.features),
        config.train_fgd_encoder,
        rules=FidelityRules.of(config.fidelity),
        seed=config.seed,
        context=TrainContext(
            device=context.device, scratch=context.scratch, tracker=context.recorder
        ),
    )


def _import(context: StageContext, published: str) -> Trained[FGDEncoder]:
    """Read the published encoder, which has no curve and no metrics."""
    path = context.paths.resolve(published)
    encoder = import_fgd_encoder(path)
    latent = context.config.train_fgd_encoder.latent
    if encoder.latent != latent:
        raise InputError(
            "train_fgd_encoder.latent",
            f"expected {encoder.latent}, the size in {path}, found {latent}",
            "set it to that size",
        )
    context.recorder.params({"published_sha256": sha256_file(path)})
    return Trained(encoder, {}, Curve(context.recorder))


def main() -> None:
    """Run the stage."""
    stage_command("train_fgd_encoder", run, __doc__)


if __name__ == "__main__":
    main()
