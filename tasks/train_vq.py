"""Stage train_vq: one of the five motion auto-encoders, `python -m tasks.train_vq face`."""

import sys
from functools import partial
from typing import Final, get_args

from mambatalk.config import Config
from mambatalk.features.store import open_features
from mambatalk.fidelity import FidelityRules
from mambatalk.files import atomic_directory, write_json
from mambatalk.models.vq.storage import save_auto_encoder
from mambatalk.motion.body import load_body
from mambatalk.motion.skeleton import PART_DIMS, AutoEncoder
from mambatalk.runtime import make_deterministic
from mambatalk.training.modules.vq import train_auto_encoder
from tasks.runtime.paths import FEATURES, METRICS, PLOTS, VQ
from tasks.runtime.stage import command_parser, execute, threads
from tasks.tracking.models import example_motion, headline, packed_model
from tasks.tracking.recorder import Recorder

NAMES: Final[tuple[AutoEncoder, ...]] = get_args(AutoEncoder)


def run(config: Config, recorder: Recorder, *, part: AutoEncoder) -> None:
    """Write `models/vq/PART`, its curve and its last numbers."""
    from tasks.tracking import pyfunc_auto_encoder as _pyfunc_auto_encoder

    make_deterministic(config.seed, threads())
    section = config.train_vq
    trained = train_auto_encoder(
        part,
        open_features(FEATURES),
        load_body(config.body.path),
        common=section.common,
        config=section.global_ if part == "global" else getattr(section, part),
        mesh_vertices=config.body.mesh_vertices,
        mesh_frames=config.body.mesh_frames,
        rules=FidelityRules.of(config.fidelity),
        seed=config.seed,
        tracker=recorder,
    )
    with atomic_directory(VQ / part) as out:
        save_auto_encoder(out, part, trained.network)
    trained.curve.write(PLOTS / "train_vq" / f"{part}.csv")
    write_json(METRICS / "train_vq" / f"{part}.json", headline(trained.metrics))
    recorder.metrics({"final": trained.metrics})
    recorder.artifact(PLOTS / "train_vq" / f"{part}.csv")
    recorder.model(
        packed_model(
            part,
            _pyfunc_auto_encoder,
            VQ / part,
            example={"motion": example_motion(PART_DIMS[part])},
        )
    )


def main() -> None:
    """Run under DVC."""
    parser = command_parser("python -m tasks.train_vq", __doc__)
    parser.add_argument("part", choices=NAMES)
    part = parser.parse_args().part
    sys.exit(execute(f"train_vq@{part}", partial(run, part=part)))


if __name__ == "__main__":
    main()
