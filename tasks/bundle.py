"""Stage bundle: generator, auto-encoders, vocabulary and configuration as one release unit."""

from mambatalk.config import Config, config_dict
from mambatalk.features.store import open_features
from mambatalk.files import read_json
from mambatalk.models.generator.storage import load_generator
from mambatalk.models.vq.storage import load_auto_encoder
from mambatalk.motion.skeleton import AUTO_ENCODERS
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.rest import mean_rest
from tasks.runtime.paths import BUNDLE, FEATURES, GENERATOR, VQ
from tasks.runtime.stage import stage_command
from tasks.tracking.models import packed_model
from tasks.tracking.recorder import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write `bundle`."""
    from tasks.tracking import pyfunc_bundle as _pyfunc_bundle

    generator = config.train_generator
    store = open_features(FEATURES)
    bundle = Bundle(
        generator=load_generator(GENERATOR),
        auto_encoders={name: load_auto_encoder(VQ / name, name) for name in AUTO_ENCODERS},
        vocabulary=read_json(FEATURES / "vocabulary.json"),
        speakers={clip.speaker: clip.speaker_index for clip in store.clips},
        rest=mean_rest(store),
        fidelity=config.fidelity,
        context_frames=generator.context_frames,
        window=generator.window,
        config={
            "seed": config.seed,
            "fidelity": config.fidelity,
            "train_vq": config_dict(config.train_vq),
            "train_generator": config_dict(generator),
        },
    )
    bundle.save(BUNDLE)
    recorder.metrics({"bytes": sum(path.stat().st_size for path in BUNDLE.iterdir())})
    recorder.artifact(BUNDLE / "bundle.json")
    recorder.model(
        packed_model("bundle", _pyfunc_bundle, BUNDLE, example=_pyfunc_bundle.example(bundle))
    )


def main() -> None:
    """Run under DVC."""
    stage_command("bundle", run, __doc__)


if __name__ == "__main__":
    main()
