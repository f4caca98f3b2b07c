"""Read npz files from untrusted sources: no pickles, no allocation from an unverified header."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mambatalk.errors import InputError

MAX_ARRAY_BYTES: Final = 2**28
"""Limit for all arrays of a file together: more than an hour of motion. The longest clip of BEATX
has 30 MB."""
MAX_MEMBERS: Final = 1000
COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The two that numpy writes. The other kinds unpack without a limit on the size of the output."""


def read_npz(data: bytes, keys: Sequence[str], *, where: str) -> dict[str, NDArray[Any]]:
    """Read the named arrays of an npz file, stored or compressed.

    Args:
        data: Content of the file.
        keys: Names of the arrays; others in the file are ignored.
        where: Name of the file for error messages.

    Returns:
        The arrays by name. They are read-only views of the unpacked bytes.

    Raises:
        InputError: The file is not an npz, is damaged, holds pickled objects, lacks an array or
            claims more memory than a clip of motion needs.

    """
    if data.count(b"PK\x01\x02") > MAX_MEMBERS:
        raise InputError(
            where,
            f"expected the arrays {', '.join(keys)}, found more than {MAX_MEMBERS} files in one",
            "export the clip in BEATX's npz form",
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_members(archive, keys, where)
            return {key: _read_member(archive, key, where) for key in keys}
    except InputError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        SyntaxError,
        TypeError,
        OverflowError,
        IndexError,
    ) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            where,
            f"expected a whole npz of plain arrays, found a damaged npz ({reason})",
            "fetch the file again",
        ) from None


def _check_members(archive: zipfile.ZipFile, keys: Sequence[str], where: str) -> None:
    members = set(archive.namelist())
    missing = [key for key in keys if f"{key}.npy" not in members]
    if missing:
        raise InputError(
            where,
            f"expected the arrays {', '.join(keys)}, found no {', '.join(missing)}",
            "export the clip in BEATX's npz form",
        )
    size = sum(archive.getinfo(f"{key}.npy").file_size for key in keys)
    if size > MAX_ARRAY_BYTES:
        raise InputError(
            where,
            f"expected at most {MAX_ARRAY_BYTES} bytes, found arrays of {size} bytes",
            "split the clip; this one does not fit in memory",
        )


def _read_member(archive: zipfile.ZipFile, key: str, name: str) -> NDArray[Any]:
    """Read one array; its header must agree with its size before anything is allocated for it."""
    where = f"{name}: {key}"
    entry = archive.getinfo(f"{key}.npy")
    if entry.compress_type not in COMPRESSIONS:
        raise InputError(
            where,
            f"expected what np.savez_compressed writes, found compression {entry.compress_type}",
            "export the clip again",
        )

    with archive.open(entry) as file:
        # Read one byte past the stated size, so that zipfile reaches the end and verifies the
        # checksum. Without a limit it would unpack any amount of data.
        member = io.BytesIO(file.read(entry.file_size + 1))
    shape, fortran, dtype = _read_header(member)
    if dtype.hasobject:
        raise InputError(
            where,
            "expected a plain array of numbers, found pickled objects, which are never loaded",
            "export the clip again without dtype=object",
        )

    content = member.getbuffer()[member.tell() :]
    # Python integers: a hostile shape would overflow int64.
    count = int(np.prod(np.array(shape, dtype=object))) if shape else 1
    expected = count * dtype.itemsize
    if min(shape, default=1) < 0 or expected != len(content):
        raise InputError(
            where,
            f"expected {expected} bytes for shape {shape} of {dtype}, found {len(content)} bytes",
            "fetch the file again",
        )
    array = np.frombuffer(content, dtype=dtype, count=count)
    return array.reshape(shape, order="F" if fortran else "C")


def _read_header(member: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, memory order (True for columns first) and type of an array.

    Raises:
        ValueError: The header is not one that numpy writes.

    """
    try:
        version = npy.read_magic(member)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        return read_header(member)
    except Exception as error:
        # The header is Python text: tokenizer, parser and type each raise errors of their own.
        raise ValueError(f"array header: {error}") from None
