"""Measure time and memory of synthesis in a process of its own: `python -m tasks.gate.budget`.

A process that has loaded nothing else shows the memory that a user needs.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from mambatalk.errors import InputError
from mambatalk.motion.skeleton import FPS, SAMPLE_RATE
from mambatalk.serving.registered import Arrays, load_registered, predictor
from tasks.runtime.command import run_command

SECONDS: Final = 10
"""Length of the speech."""
REPEATS: Final = 2
_TIMEOUT: Final = 600.0


@dataclass(frozen=True)
class Budget:
    """What synthesis of speech on the CPU takes."""

    synthesis_time: float
    """Seconds for a second of motion, the better of two runs."""
    memory_mib: float
    """Largest resident memory, MiB."""


def measure_budget(model: Path) -> Budget:
    """Measure a model in a new process.

    Args:
        model: Folder that holds the folder `bundle`.

    Raises:
        InputError: The model cannot be loaded, or takes more than ten minutes.

    """
    command = [sys.executable, "-m", "tasks.gate.budget", str(model)]
    try:
        # In the folder of this code: `-m` finds packages in the working directory.
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            model, f"expected synthesis within {_TIMEOUT:.0f} s, found none", "use a smaller model"
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise InputError(model, f"expected a model that loads, found: {lines[-1]}", "see above")
    return Budget(**json.loads(done.stdout.splitlines()[-1]))


def _measure(
    model: Annotated[Path, typer.Argument(help="Folder that holds the folder `bundle`.")],
) -> None:
    bundle = load_registered(model)
    predict = predictor(bundle)
    noise = np.random.default_rng(0).normal(0, 0.05, SECONDS * SAMPLE_RATE).astype(np.float32)
    arrays: Arrays = {"waveform": noise, "speaker_id": np.array([min(bundle.speakers)], np.int64)}
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        frames = len(predict(arrays)["poses"])
        times.append((time.perf_counter() - start) / (frames / FPS))
    sys.stdout.write(f"{json.dumps(asdict(Budget(min(times), _peak_mib())))}\n")


def _peak_mib() -> float:
    # Not `ru_maxrss`, which includes the memory of the parent before `exec`.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


if __name__ == "__main__":
    run_command(_measure, "tasks.gate.budget", __doc__)
