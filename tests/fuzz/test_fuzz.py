"""Mutated files are read or refused with an InputError, in bounded time and memory.

The smoke test reads some hundreds; `make fuzz` (`-m fuzz`) reads more than ten thousand.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.mutations import MUTATIONS, mutated
from tests.fuzz.seeds import write_seeds

ROOT = Path(__file__).parents[2]
FILES = {"motion": 4000, "wave": 4000, "textgrid": 4000, "semantics": 1000, "split": 1000}
SMOKE = 100
"""Files of each kind in the smoke test."""
BATCH = 500
"""Files read by one process."""


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip(
        "espeakng_loader", reason="eSpeak NG speaks the sample: pip install 'mambatalk[sample]'"
    )
    out = tmp_path_factory.mktemp("seeds")
    write_seeds(out)
    return out


def read(kind: str, seeds: Path, first: int, count: int) -> list[dict[str, object]]:
    """Read mutated files in a subprocess and return the outcome of each.

    If the process ends early, the last file that it announced is the cause. The process may write
    no files, so `make coverage` must not measure it.
    """
    variables = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    done: list[dict[str, object]] = []
    while count > 0:
        process = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.fuzz.reading",
                kind,
                str(seeds / kind),
                str(first),
                str(count),
            ],
            cwd=ROOT,
            env={**variables, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [json.loads(line) for line in process.stdout.splitlines()]
        done += [line for line in lines if "outcome" in line]
        if process.returncode == 0:
            assert process.stderr == "", "a library wrote to standard error"
            break
        assert lines, process.stderr
        last = lines[-1]["number"]
        done.append(
            {
                "number": last,
                "outcome": f"the process ended by {process.returncode}: {process.stderr[-300:]}",
            }
        )
        first, count = last + 1, first + count - last - 1
    return done


def check_outcomes(kind: str, seeds: Path, done: list[dict[str, object]], tmp_path: Path) -> None:
    """Fail if a file was neither read nor refused, and keep such files in `tmp_path`."""
    bad = [line for line in done if line["outcome"] not in ("clean", "refused")]
    files = [path.read_bytes() for path in sorted((seeds / kind).iterdir())]
    for line in bad:
        (tmp_path / f"{kind}-{line['number']}").write_bytes(
            mutated(kind, files, int(str(line["number"])))
        )
    summary = "\n".join(f"{kind} {line['number']}: {line['outcome']}" for line in bad[:20])
    assert not bad, f"{len(bad)} of {len(done)} files, kept in {tmp_path}:\n{summary}"
    assert {line["outcome"] for line in done} == {"clean", "refused"}, (
        "the mutations damage nothing, or everything"
    )


@pytest.mark.parametrize("kind", MUTATIONS)
def test_mutated_files_are_read_or_refused(kind: str, seeds: Path, tmp_path: Path) -> None:
    check_outcomes(kind, seeds, read(kind, seeds, 0, SMOKE), tmp_path)


@pytest.mark.fuzz
@pytest.mark.parametrize(
    ("kind", "first"), [(kind, first) for kind in FILES for first in range(0, FILES[kind], BATCH)]
)
def test_thousands_of_mutated_files_are_read_or_refused(
    kind: str, first: int, seeds: Path, tmp_path: Path
) -> None:
    check_outcomes(kind, seeds, read(kind, seeds, first, min(BATCH, FILES[kind] - first)), tmp_path)
