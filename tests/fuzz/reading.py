"""Read mutated files under hard limits, and write a JSON line to standard output for each.

    python -m tests.fuzz.reading KIND SEEDS FIRST COUNT

SEEDS is a folder of valid files. The kernel ends the process if it uses too much memory or time,
and any write to a file fails.
"""

import json
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mambatalk.corpus.layout import read_split_table
from mambatalk.corpus.semantics import read_semantics
from mambatalk.corpus.textgrid import read_textgrid
from mambatalk.corpus.wave import read_wav
from mambatalk.errors import InputError
from mambatalk.motion.clip import SmplxMotion
from tests.fuzz.mutations import mutated

READERS: dict[str, Callable[..., Any]] = {
    "motion": SmplxMotion.read,
    "wave": read_wav,
    "textgrid": read_textgrid,
    "semantics": read_semantics,
    "split": read_split_table,
}
MEMORY = 2**30
"""Bytes that reading may add to the memory of the process."""
SECONDS = 10
"""Time limit for one file."""


def limit() -> None:
    """Set the limits of the process."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def outcome(kind: str, data: bytes) -> str:
    """Return "clean", "refused", or a description of the failure."""
    try:
        READERS[kind](data, where="file")
    except InputError as error:
        line = str(error)
        return (
            "refused"
            if line.startswith("file") and line.isprintable()
            else f"a broken line: {line!r}"
        )
    except BaseException as error:  # Anything else is a defect of the reader.
        return f"{type(error).__name__}: {error!s:.300}"
    return "clean"


def write_line(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the mutations FIRST to FIRST + COUNT."""
    kind = sys.argv[1]
    folder = Path(sys.argv[2])
    first = int(sys.argv[3])
    count = int(sys.argv[4])
    seeds = [path.read_bytes() for path in sorted(folder.iterdir())]
    limit()
    for number in range(first, first + count):
        data = mutated(kind, seeds, number)
        write_line(number=number)
        signal.alarm(SECONDS)
        begun = time.perf_counter()
        found = outcome(kind, data)
        signal.alarm(0)
        write_line(number=number, outcome=found, seconds=time.perf_counter() - begun)


if __name__ == "__main__":
    main()
