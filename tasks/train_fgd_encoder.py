"""Stage train_fgd_encoder: the motion encoder that FGD is measured with, trained here or imported
as published.
"""

from pathlib import Path

from mambatalk.config import Config
from mambatalk.errors import InputError
from mambatalk.features.store import open_features
from mambatalk.fidelity import FidelityRules
from mambatalk.files import atomic_directory, sha256_file, write_json
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.models.fgd.storage import save_fgd_encoder
from mambatalk.motion.skeleton import POSE_DIM
from mambatalk.published.fgd import import_fgd_encoder
from mambatalk.runtime import make_deterministic
from mambatalk.training.loop import Trained
from mambatalk.training.modules.fgd import train_fgd_encoder
from mambatalk.training.tracker import Curve
from tasks.runtime.paths import FEATURES, FGD, METRICS, PLOTS
from tasks.runtime.stage import stage_command, threads
from tasks.tracking.models import example_motion, headline, packed_model
from tasks.tracking.recorder import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write `models/fgd`, its curve and its last numbers."""
    from tasks.tracking import pyfunc_fgd as _pyfunc_fgd

    trained = (
        _imported(config, recorder)
        if config.train_fgd_encoder.published
        else _trained(config, recorder)
    )
    with atomic_directory(FGD) as out:
        save_fgd_encoder(out, trained.network)
    trained.curve.write(PLOTS / "train_fgd_encoder.csv")
    write_json(METRICS / "train_fgd_encoder.json", headline(trained.metrics))
    recorder.metrics({"final": trained.metrics})
    recorder.artifact(PLOTS / "train_fgd_encoder.csv")
    recorder.model(
        packed_model("fgd_encoder", _pyfunc_fgd, FGD, example={"motion": example_motion(POSE_DIM)})
    )


def _trained(config: Config, recorder: Recorder) -> Trained[FGDEncoder]:
    make_deterministic(config.seed, threads())
    return train_fgd_encoder(
        open_features(FEATURES),
        config.train_fgd_encoder,
        rules=FidelityRules.of(config.fidelity),
        seed=config.seed,
        tracker=recorder,
    )


def _imported(config: Config, recorder: Recorder) -> Trained[FGDEncoder]:
    """The published encoder, which has no curve and no numbers of its own."""
    path = Path(config.train_fgd_encoder.published or "")
    encoder = import_fgd_encoder(path)
    if encoder.latent != config.train_fgd_encoder.latent:
        raise InputError(
            "train_fgd_encoder.latent",
            f"expected {encoder.latent}, which {path} has, found {config.train_fgd_encoder.latent}",
            "correct the value",
        )
    recorder.params({"published_sha256": sha256_file(path)})
    return Trained(encoder, {}, Curve(recorder))


def main() -> None:
    """Run under DVC."""
    stage_command("train_fgd_encoder", run, __doc__)


if __name__ == "__main__":
    main()
