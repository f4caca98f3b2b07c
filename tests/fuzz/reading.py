"""Read mutated files under hard limits, and write a JSON line to standard output for each.

    python -m tests.fuzz.reading KIND SEEDS FIRST COUNT

SEEDS is a folder of valid files; a folder of several files is packed into one. The kernel ends the
process if it uses too much memory or time, and any write to a file fails, except where the reader
needs a path: then small files in memory may be written.
"""

import hashlib
import json
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mambatalk.corpus.layout import KINDS, clip_path, parse_clip_id, read_split_table
from mambatalk.corpus.semantics import read_semantics
from mambatalk.corpus.textgrid import read_textgrid
from mambatalk.corpus.wave import read_wav
from mambatalk.errors import InputError
from mambatalk.motion.clip import SmplxMotion
from mambatalk.quality.decisions import parse_decisions
from tests.fuzz.mutations import members_of, mutated

Reader = Callable[..., Any]
CLIP = parse_clip_id("1_ada_0_1_1")
MEMORY = 2**30
"""Bytes that reading may add to the memory of the process."""
FILE = 2**26
"""Largest file that a kind in `ON_DISK` may write, in bytes."""
SECONDS = 10
"""Limit for one file, of processor time: on a busy machine a clock would end readers that wait for
their turn.
"""


def read_clip_folder(folder: Path) -> None:
    """Read a clip of four files as ingest does, and check it with every rule."""
    from mambatalk.clips.manifest import build_manifest
    from mambatalk.clips.reading import ClipJob, read_clip
    from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS, clip_rules
    from mambatalk.quality.rules.verdict import apply_rules, verdict

    listed = {}
    for kind in KINDS:
        data = (folder / kind).read_bytes() if (folder / kind).exists() else None
        if data is not None:
            path = clip_path(folder / "corpus", CLIP, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            name = path.relative_to(folder / "corpus").as_posix()
            listed[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    row, _ = read_clip(ClipJob(folder / "corpus", CLIP, listed))
    table = build_manifest([row], {str(CLIP): "train"})
    verdict(table, apply_rules(table, clip_rules(STANDARD_BOUNDS)), max_quarantined=1)
    if row["fault"] is not None:
        if row["fault"].startswith(f"{CLIP}: "):
            raise AssertionError(row["fault"])
        raise InputError("file", row["fault"], "this is what the manifest says")


def read_network(folder: Path) -> None:
    from mambatalk.models.vq.storage import load_auto_encoder

    load_auto_encoder(folder, "face")


def read_bundle(folder: Path) -> None:
    from mambatalk.synthesis.bundle import Bundle

    Bundle.load(folder)


def read_published(path: Path) -> None:
    from mambatalk.published.building import build_vqvae
    from mambatalk.published.checkpoints import read_checkpoint
    from mambatalk.published.keymap import translate
    from mambatalk.published.loading import CHECK_FILE, shape_errors_as_input_errors

    translation = translate(read_checkpoint(path), "auto_encoder", where=str(path))
    with shape_errors_as_input_errors(path, expected="one network", hint=CHECK_FILE):
        build_vqvae(translation)


def read_published_vocabulary(path: Path) -> None:
    from mambatalk.published.checkpoints import read_vocabulary

    read_vocabulary(path)


IN_MEMORY: dict[str, Reader] = {
    "motion": SmplxMotion.read,
    "wave": read_wav,
    "textgrid": read_textgrid,
    "semantics": read_semantics,
    "split": read_split_table,
    "decisions": parse_decisions,
}
ON_DISK: dict[str, Callable[[Path], None]] = {
    "clip": read_clip_folder,
    "network": read_network,
    "bundle": read_bundle,
    "published": read_published,
    "vocabulary": read_published_vocabulary,
}
FOLDERS = ("clip", "network", "bundle")


def limit(kind: str) -> None:
    """Set the limits of the process."""
    if kind in ON_DISK:
        # What the first reading imports is not memory of the reading.
        import torch  # noqa: F401

        import mambatalk.published.importing
        import mambatalk.quality.rules.catalogue  # noqa: F401
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    size = FILE if kind in ON_DISK else 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def read(kind: str, data: bytes) -> None:
    """Read one file, or a folder that is packed into one."""
    if kind in IN_MEMORY:
        IN_MEMORY[kind](data, where="file")
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="fuzz") as folder:
        path = Path(folder) / "file"
        if kind in FOLDERS:
            path.mkdir()
            for name, content in members_of(data).items():
                (path / name).write_bytes(content)
        else:
            path.write_bytes(data)
        try:
            ON_DISK[kind](path)
        except InputError as error:
            raise InputError("file", str(error), "as said") from error


def outcome(kind: str, data: bytes) -> str:
    """Return "clean", "refused", or a description of the failure."""
    try:
        read(kind, data)
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
    limit(kind)
    for number in range(first, first + count):
        data = mutated(kind, seeds, number)
        write_line(number=number)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        begun = time.process_time()
        found = outcome(kind, data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        write_line(number=number, outcome=found, seconds=time.process_time() - begun)


if __name__ == "__main__":
    main()
