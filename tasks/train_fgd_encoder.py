"""Stage train_fgd_encoder: the motion encoder that FGD is measured with, trained here or imported as published."""

import sys

from mambatalk.config import Config
from mambatalk.data.store import open_features
from mambatalk.files import atomic_directory, write_json
from mambatalk.models.storing_fgd import save_fgd_encoder
from mambatalk.motion.skeleton import POSE_DIM
from mambatalk.training.fgd import train_fgd_encoder
from mambatalk.training.runtime import make_deterministic
from tasks._models import example_motion, packed_model
from tasks._paths import FEATURES, FGD, METRICS, PLOTS
from tasks._stage import execute, threads
from tasks._tracking import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write `models/fgd`, its curve and its last numbers."""
    from tasks import _pyfunc_fgd

    make_deterministic(config.seed, threads())
    trained = train_fgd_encoder(open_features(FEATURES), config.train_fgd_encoder, fidelity=config.fidelity,
                                seed=config.seed, tracker=recorder)
    with atomic_directory(FGD) as out:
        save_fgd_encoder(out, trained.network)
    trained.curve.write(PLOTS / "train_fgd_encoder.csv")
    write_json(METRICS / "train_fgd_encoder.json", trained.metrics)
    recorder.metrics({"final": trained.metrics})
    recorder.artifact(PLOTS / "train_fgd_encoder.csv")
    recorder.model(packed_model("fgd_encoder", _pyfunc_fgd, FGD, example={"motion": example_motion(POSE_DIM)}))


def main() -> None:
    """Run under DVC."""
    sys.exit(execute("train_fgd_encoder", run))


if __name__ == "__main__":
    main()
