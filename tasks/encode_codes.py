"""Stage encode_codes: the code of every frame and part, by the frozen auto-encoders."""

from mambatalk.config import Config
from mambatalk.features.store import open_features
from mambatalk.fidelity import FidelityRules
from mambatalk.files import atomic_directory, write_json
from mambatalk.models.vq.storage import load_auto_encoder
from mambatalk.motion.skeleton import PARTS
from mambatalk.runtime import device, make_deterministic
from mambatalk.training.codes import code_usage, encode_codes, write_codes
from tasks.runtime.paths import CODES, FEATURES, METRICS, VQ
from tasks.runtime.stage import stage_command, threads
from tasks.tracking.recorder import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write `data/codes` and how much of each code book is in use."""
    make_deterministic(0, threads())
    networks = {part: load_auto_encoder(VQ / part, part).to(device()) for part in PARTS}
    codes = encode_codes(open_features(FEATURES), networks, rules=FidelityRules.of(config.fidelity))
    with atomic_directory(CODES) as out:
        write_codes(out / "codes.safetensors", codes)
    usage = code_usage(codes, networks)
    write_json(METRICS / "encode_codes.json", usage)
    recorder.metrics(usage)


def main() -> None:
    """Run under DVC."""
    stage_command("encode_codes", run, __doc__)


if __name__ == "__main__":
    main()
