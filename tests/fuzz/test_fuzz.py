"""Mutated files are read or refused with an InputError, in bounded time and memory.

The smoke test reads some hundreds; `make fuzz` (`-m fuzz`) reads `FUZZ_COUNT`, by default fifteen
thousand. What was found, and mended, is kept as a case of its own.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mambatalk.errors import InputError
from tests.fuzz.mutations import members_of, mutated, pack
from tests.fuzz.reading import IN_MEMORY, outcome
from tests.fuzz.seeds import write_seeds

ROOT = Path(__file__).parents[2]
SHARES = {
    "motion": 0.15,
    "wave": 0.15,
    "textgrid": 0.25,
    "semantics": 0.15,
    "split": 0.08,
    "decisions": 0.1,
    "vocabulary": 0.05,
    "published": 0.025,
    "network": 0.02,
    "clip": 0.02,
    "bundle": 0.005,
}
"""Share of the files of each kind; those that are slow to read have small ones."""
COUNT = int(os.environ.get("FUZZ_COUNT") or 15_000)
SMOKE = 100
"""Files of each kind in the smoke test, which leaves out the kinds whose readers import torch."""
BATCH = dict.fromkeys(SHARES, 1000) | {"clip": 250, "bundle": 100}
"""Files of each kind that are read by one process: minutes of work on a busy machine."""
CPYTHON_BUG = "SystemError: deallocated bytearray object has exported buffers"
"""CPython 3.11 prints it when the pickle of a bytearray is damaged; nothing else is wrong then."""


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
                # Of torch, about the old classes that a damaged checkpoint names.
                "-W",
                "ignore",
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
            printed = set(process.stderr.splitlines()) - {"", CPYTHON_BUG}
            assert not printed, "a library wrote to standard error"
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


@pytest.mark.parametrize("kind", IN_MEMORY)
def test_mutated_files_are_read_or_refused(kind: str, seeds: Path, tmp_path: Path) -> None:
    check_outcomes(kind, seeds, read(kind, seeds, 0, SMOKE), tmp_path)


@pytest.mark.fuzz
@pytest.mark.parametrize(
    ("kind", "first"),
    [
        (kind, first)
        for kind, share in SHARES.items()
        for first in range(0, round(COUNT * share), BATCH[kind])
    ],
)
def test_thousands_of_mutated_files_are_read_or_refused(
    kind: str, first: int, seeds: Path, tmp_path: Path
) -> None:
    count = min(BATCH[kind], round(COUNT * SHARES[kind]) - first)
    check_outcomes(kind, seeds, read(kind, seeds, first, count), tmp_path)


TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

0 5 <exists> {tiers}
"IntervalTier" "words" 0 5 1
{start} {end} "hello"
"""


@pytest.mark.parametrize(
    ("tiers", "start", "end"),
    [("1", "0", "1e300"), ("1", "-1e300", "1"), ("1", "1e18", "2e18"), ("1e300", "0", "1")],
)
def test_an_absurd_number_in_a_textgrid_is_refused(tiers: str, start: str, end: str) -> None:
    """Times of 1e300 s overflowed where they became frames."""
    text = TEXTGRID.format(tiers=tiers, start=start, end=end)
    assert outcome("textgrid", text.encode()) == "refused"


@pytest.mark.parametrize("row", ["a\t0\t1e300\t1\t1", "a\t0\t1\t1e300\t1", "a\t0\t1\t1\t-1e300"])
def test_an_absurd_number_in_semantics_is_refused(row: str) -> None:
    assert outcome("semantics", row.encode()) == "refused"


def test_a_message_that_quotes_damaged_bytes_is_printable() -> None:
    """A damaged checkpoint put control characters into the one line that reports it."""
    line = str(InputError("file", "found \x1b[2J\x00 and\nmore", "copy it"))
    assert line == r"file: found \x1b[2J\x00 and more; copy it"


SIZES: list[tuple[str, object]] = [
    ("borders", "x"),
    ("borders", None),
    ("width", 10**12),
    ("width", -1),
    ("layers", 10**9),
    ("layers", [2]),
    ("dim", 0.5),
    ("codebook_size", 2**40),
    ("unknown", 1),
]
"""`borders` and odd widths ended in a traceback; a huge number of layers never ended."""


@pytest.mark.parametrize(("name", "value"), SIZES)
def test_absurd_sizes_of_a_network_are_refused(seeds: Path, name: str, value: object) -> None:
    members = members_of((seeds / "network" / "0").read_bytes())
    description = json.loads(members["face.json"])
    description["sizes"][name] = value
    members["face.json"] = json.dumps(description).encode()
    assert outcome("network", pack(members)) == "refused"


def drop_speakers(files: dict[str, bytes], description: dict[str, object]) -> None:
    del description["speakers"]


def replace_rest(files: dict[str, bytes], description: dict[str, object]) -> None:
    files["rest.json"] = b'[[1, "x"]]'


def replace_network(files: dict[str, bytes], description: dict[str, object]) -> None:
    files["face.json"] = b'"x"'


def replace_fidelity(files: dict[str, bytes], description: dict[str, object]) -> None:
    description["fidelity"] = "x"


@pytest.mark.parametrize("change", [drop_speakers, replace_rest, replace_network, replace_fidelity])
def test_a_bundle_with_valid_digests_and_other_contents_is_refused(
    seeds: Path, change: Callable[[dict[str, bytes], dict[str, object]], None]
) -> None:
    files = members_of((seeds / "bundle" / "0").read_bytes())
    description = json.loads(files.pop("bundle.json"))
    del description["digest"]
    change(files, description)
    description["files"] = {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    description["digest"] = hashlib.sha256(text.encode()).hexdigest()
    files["bundle.json"] = json.dumps(description).encode()
    assert outcome("bundle", pack(files)) == "refused"
