"""Stage bundle: pack generator, auto-encoders, vocabulary and configuration into one bundle."""

from mambatalk.config import config_dict
from mambatalk.features.store import open_features
from mambatalk.files import read_json
from mambatalk.models.generator.storage import load_generator
from mambatalk.models.vq.storage import load_auto_encoder
from mambatalk.motion.body import load_body
from mambatalk.motion.skeleton import AUTO_ENCODERS, PARTS
from mambatalk.runtime import make_deterministic
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.calibration import calibrated, training_speech
from mambatalk.synthesis.history_chain import chains_of_clips
from mambatalk.synthesis.rest import farthest, mean_betas, mean_rest
from mambatalk.training.codes import read_codes
from tasks.runtime.context import StageContext
from tasks.runtime.stage import stage_command, threads
from tasks.tracking.models import packed_model


def run(context: StageContext) -> None:
    """Write `bundle`."""
    from tasks.tracking import pyfunc_bundle

    config = context.config
    paths = context.paths
    make_deterministic(config.seed, threads())
    store = open_features(paths.features)
    codes = read_codes(paths.codes / "codes.safetensors")
    training = []
    for clip in store.clips_in_split("train"):
        rows = store.frames(clip)
        training.append((clip.speaker_index, {part: codes[part][rows] for part in PARTS}))
    bundle = Bundle(
        generator=load_generator(paths.generator),
        auto_encoders={name: load_auto_encoder(paths.vq / name, name) for name in AUTO_ENCODERS},
        vocabulary=read_json(paths.features / "vocabulary.json"),
        speakers={clip.speaker_id: clip.speaker_index for clip in store.clips},
        rest=mean_rest(store),
        reach=farthest(store),
        rest_joints=load_body(paths.resolve(config.body.path)).rest_joints(mean_betas(store)),
        chains=chains_of_clips(training, config.train_vq.common.codebook_size),
        fidelity=config.fidelity,
        context_frames=config.train_generator.context_frames,
        window=config.train_generator.window,
        config={
            "seed": config.seed,
            "fidelity": config.fidelity,
            "train_vq": config_dict(config.train_vq),
            "train_generator": config_dict(config.train_generator),
        },
    )
    bundle = calibrated(bundle.to(context.device), training_speech(store))
    bundle.save(paths.bundle)

    size = sum(path.stat().st_size for path in paths.bundle.iterdir())
    context.recorder.metrics({"bytes": size})
    context.recorder.artifact(paths.bundle / "bundle.json")
    example = pyfunc_bundle.example(bundle)
    context.recorder.model(packed_model("bundle", pyfunc_bundle, paths.bundle, example=example))


def main() -> None:
    """Run the stage."""
    stage_command("bundle", run, __doc__)


if __name__ == "__main__":
    main()
