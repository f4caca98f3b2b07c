"""Stage train_generator: train the generator, from speech to code indices."""

from mambatalk.features.store import open_features
from mambatalk.fidelity import FidelityRules
from mambatalk.files import read_json
from mambatalk.models.generator.storage import save_generator
from mambatalk.models.vq.storage import load_auto_encoder
from mambatalk.motion.skeleton import PARTS
from mambatalk.runtime import make_deterministic
from mambatalk.training.codes import read_codes
from mambatalk.training.context import TrainContext
from mambatalk.training.modules.generator import train_generator
from tasks.runtime.context import StageContext
from tasks.runtime.publish import publish_training
from tasks.runtime.stage import stage_command, threads
from tasks.tracking.models import packed_model


def run(context: StageContext) -> None:
    """Write `models/generator`, its curve and its final metrics."""
    from tasks.tracking import pyfunc_generator

    config = context.config
    paths = context.paths
    make_deterministic(config.seed, threads())
    store = open_features(paths.features)
    trained = train_generator(
        store,
        read_codes(paths.codes / "codes.safetensors"),
        {part: load_auto_encoder(paths.vq / part, part) for part in PARTS},
        config.train_generator,
        vocabulary_size=len(read_json(paths.features / "vocabulary.json")),
        speakers=1 + max(clip.speaker_index for clip in store.clips),
        rules=FidelityRules.of(config.fidelity),
        seed=config.seed,
        context=TrainContext(
            device=context.device, scratch=context.scratch, tracker=context.recorder
        ),
    )
    example = pyfunc_generator.example()
    publish_training(
        context,
        trained,
        folder=paths.generator,
        save=lambda out: save_generator(out, trained.network),
        model=packed_model("generator", pyfunc_generator, paths.generator, example=example),
    )


def main() -> None:
    """Run the stage."""
    stage_command("train_generator", run, __doc__)


if __name__ == "__main__":
    main()
