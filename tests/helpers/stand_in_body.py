"""The stand-in body, written once for all tests of a process."""

import tempfile
from functools import cache
from pathlib import Path

from mambatalk.motion.body import Body, load_body
from mambatalk.motion.stand_in.model import write_stand_in


@cache
def stand_in_file() -> Path:
    """Return the file of the stand-in body."""
    path = Path(tempfile.mkdtemp()) / "SMPLX_NEUTRAL_2020.npz"
    write_stand_in(path)
    return path


@cache
def stand_in_body() -> Body:
    """Return the stand-in body."""
    return load_body(stand_in_file())
