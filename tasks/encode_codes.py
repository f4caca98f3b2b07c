"""Stage encode_codes: encode every frame into code indices with the trained auto-encoders."""

from mambatalk.features.store import open_features
from mambatalk.fidelity import FidelityRules
from mambatalk.files import atomic_directory
from mambatalk.models.vq.storage import load_auto_encoder
from mambatalk.motion.skeleton import PARTS
from mambatalk.runtime import make_deterministic
from mambatalk.training.codes import encode_codes, write_codes
from tasks.runtime.context import StageContext
from tasks.runtime.stage import stage_command, threads


def run(context: StageContext) -> None:
    """Write `data/codes`."""
    make_deterministic(0, threads())
    paths = context.paths
    networks = {part: load_auto_encoder(paths.vq / part, part).to(context.device) for part in PARTS}
    rules = FidelityRules.of(context.config.fidelity)
    codes = encode_codes(
        open_features(paths.features), networks, rules=rules, device=context.device
    )
    with atomic_directory(paths.codes) as out:
        write_codes(out / "codes.safetensors", codes)


def main() -> None:
    """Run the stage."""
    stage_command("encode_codes", run, __doc__)


if __name__ == "__main__":
    main()
