"""MambaTalk: speech to whole-body SMPL-X motion.

Selective state space models over discrete motion codes. The public API:

- `Bundle`: a trained model, `Bundle.load("bundle")`.
- `Synthesizer`: speech in, motion out, with the networks of a bundle.
- `Speech`: the input of a `Synthesizer`.
- `SmplxMotion`: one clip of SMPL-X motion, which reads and writes npz files.
- `Sampling`: how codes are drawn at random; without it a `Synthesizer` takes the most likely ones.
- `read_audio`: a recording of any common format as the waveform of a `Speech`.
- `evaluate`: every metric, for the result files of any method.

Names are imported on first use, so that `import mambatalk` is fast and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mambatalk.audio.recording import read_audio
    from mambatalk.evaluation.result_files import evaluate
    from mambatalk.motion.clip import SmplxMotion
    from mambatalk.synthesis.bundle import Bundle
    from mambatalk.synthesis.layout import Speech
    from mambatalk.synthesis.sampling import Sampling
    from mambatalk.synthesis.synthesizer import Synthesizer

__version__: str
"""The version that is installed: the last tag, or a development version after it.

0.0.0 where the package is not installed, as in a checkout on `PYTHONPATH`.
"""

__all__ = [
    "Bundle",
    "Sampling",
    "SmplxMotion",
    "Speech",
    "Synthesizer",
    "evaluate",
    "read_audio",
]

_MODULES: Final = {
    "Bundle": "mambatalk.synthesis.bundle",
    "Sampling": "mambatalk.synthesis.sampling",
    "SmplxMotion": "mambatalk.motion.clip",
    "Speech": "mambatalk.synthesis.layout",
    "Synthesizer": "mambatalk.synthesis.synthesizer",
    "evaluate": "mambatalk.evaluation.result_files",
    "read_audio": "mambatalk.audio.recording",
}
"""Module of each public name."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name == "__version__":
        # Here, because its import takes longer than that of the package.
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("mambatalk")
        except PackageNotFoundError:
            return "0.0.0"
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names and what is imported already."""
    return sorted({*globals(), *__all__})
