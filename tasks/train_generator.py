"""Stage train_generator: speech to codes, over frozen code books."""

from mambatalk.config import Config
from mambatalk.features.store import open_features
from mambatalk.fidelity import FidelityRules
from mambatalk.files import atomic_directory, read_json, write_json
from mambatalk.models.generator.storage import save_generator
from mambatalk.models.vq.storage import load_auto_encoder
from mambatalk.motion.skeleton import PARTS
from mambatalk.runtime import make_deterministic
from mambatalk.training.codes import read_codes
from mambatalk.training.modules.generator import train_generator
from tasks.runtime.paths import CODES, FEATURES, GENERATOR, METRICS, PLOTS, VQ
from tasks.runtime.stage import stage_command, threads
from tasks.tracking.models import headline, packed_model
from tasks.tracking.recorder import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write `models/generator`, its curve and its last numbers."""
    from tasks.tracking import pyfunc_generator as _pyfunc_generator

    make_deterministic(config.seed, threads())
    store = open_features(FEATURES)
    trained = train_generator(
        store,
        read_codes(CODES / "codes.safetensors"),
        {part: load_auto_encoder(VQ / part, part) for part in PARTS},
        config.train_generator,
        vocabulary_size=len(read_json(FEATURES / "vocabulary.json")),
        speakers=1 + max(clip.speaker_index for clip in store.clips),
        rules=FidelityRules.of(config.fidelity),
        seed=config.seed,
        tracker=recorder,
    )
    with atomic_directory(GENERATOR) as out:
        save_generator(out, trained.network)
    trained.curve.write(PLOTS / "train_generator.csv")
    write_json(METRICS / "train_generator.json", headline(trained.metrics))
    recorder.metrics({"final": trained.metrics})
    recorder.artifact(PLOTS / "train_generator.csv")
    recorder.model(
        packed_model("generator", _pyfunc_generator, GENERATOR, example=_pyfunc_generator.example())
    )


def main() -> None:
    """Run under DVC."""
    stage_command("train_generator", run, __doc__)


if __name__ == "__main__":
    main()
