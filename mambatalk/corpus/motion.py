"""Motion files: SMPL-X npz as BEATX and its tools write them, read without pickles and without
trusting a header.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mambatalk.corpus.source import Source, load_bytes
from mambatalk.errors import InputError
from mambatalk.motion.skeleton import BETAS_DIM, EXPRESSION_DIM, JOINT_COUNT

MAX_FILE_BYTES: Final = 2**29
MAX_ARRAY_BYTES: Final = 2**28
"""Of all arrays together: more than an hour of motion; the longest real clip has 30 MB."""
MAX_MEMBERS: Final = 1000
COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What numpy writes. The other kinds unpack without any bound on what comes out."""
FRAME_ARRAYS: Final = {"poses": 3 * JOINT_COUNT, "expressions": EXPRESSION_DIM, "trans": 3}

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Motion:
    """One clip of SMPL-X motion as it stands in the file; NaN and infinity are left for the checks
    to find.
    """

    poses: Floats
    """Axis-angle (n, 165), radians."""
    trans: NDArray[np.float64]
    """Translation (n, 3), metres, y up; real files hold it in double precision."""
    expressions: Floats
    """Expression coefficients (n, 100)."""
    betas: Floats
    """Body shape (300,)."""
    fps: float
    """Frames a second that the file states."""


def read_motion(source: Source, *, where: str | None = None) -> Motion:
    """Read a SMPL-X npz, stored or compressed, of float32 or float64 arrays.

    Args:
        source: Path, or the file's bytes.
        where: Name for errors; the path by default.

    Raises:
        InputError: No npz, a damaged one, pickled objects, a missing key, a wrong shape or type.

    """
    data, name = load_bytes(source, where=where, limit=MAX_FILE_BYTES)
    arrays = _read_arrays(data, name, (*FRAME_ARRAYS, "betas", "mocap_frame_rate"))
    frames = arrays["poses"].shape[0] if arrays["poses"].ndim else 0
    if frames == 0:
        raise InputError(
            f"{name}: poses",
            f"expected at least one frame, found shape {arrays['poses'].shape}",
            "leave the clip out or export it again",
        )
    shapes = {key: (frames, width) for key, width in FRAME_ARRAYS.items()} | {"betas": (BETAS_DIM,)}
    values: dict[str, Any] = {
        key: _floats(arrays[key], shape, f"{name}: {key}") for key, shape in shapes.items()
    }
    values["trans"] = np.array(arrays["trans"], np.float64)
    return Motion(
        **values, fps=_frame_rate(arrays["mocap_frame_rate"], f"{name}: mocap_frame_rate")
    )


def _read_arrays(data: bytes, name: str, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    if data.count(b"PK\x01\x02") > MAX_MEMBERS:
        raise InputError(
            name,
            f"expected the arrays {', '.join(keys)}, found more than {MAX_MEMBERS} files in one",
            "export the clip in BEATX's npz form",
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = set(archive.namelist())
            missing = [key for key in keys if f"{key}.npy" not in members]
            if missing:
                raise InputError(
                    name,
                    f"expected the arrays {', '.join(keys)}, found no {', '.join(missing)}",
                    "export the clip in BEATX's npz form",
                )
            size = sum(archive.getinfo(f"{key}.npy").file_size for key in keys)
            if size > MAX_ARRAY_BYTES:
                raise InputError(
                    name,
                    f"expected at most {MAX_ARRAY_BYTES}, found arrays of {size} bytes",
                    "split the clip; this one does not fit in memory",
                )
            return {key: _read_member(archive, key, name) for key in keys}
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
            name,
            f"expected a whole npz of plain arrays, found a damaged npz ({reason})",
            "fetch the file again",
        ) from None


def _read_member(archive: zipfile.ZipFile, key: str, name: str) -> NDArray[Any]:
    """One array; its header must agree with its size before anything is allocated for it."""
    where = f"{name}: {key}"
    entry = archive.getinfo(f"{key}.npy")
    if entry.compress_type not in COMPRESSIONS:
        raise InputError(
            where,
            f"expected what np.savez_compressed writes, found compression {entry.compress_type}",
            "export the clip again",
        )
    with archive.open(entry) as file:
        # A byte more than there should be, to meet the end and its checksum; without a number all
        # would be unpacked.
        member = io.BytesIO(file.read(entry.file_size + 1))
    shape, fortran, dtype = _read_header(member)
    if dtype.hasobject:
        raise InputError(
            where,
            "expected a plain array of numbers, found pickled objects, which are never loaded",
            "export the clip again without dtype=object",
        )
    content = member.getbuffer()[member.tell() :]
    count = int(np.prod(np.array(shape, dtype=object))) if shape else 1
    if min(shape, default=1) < 0 or count * dtype.itemsize != len(content):
        raise InputError(
            where,
            f"expected {count * dtype.itemsize} bytes,"
            f" found {len(content)} bytes for shape {shape} of {dtype}",
            "fetch the file again",
        )
    return np.frombuffer(content, dtype=dtype, count=count).reshape(
        shape, order="F" if fortran else "C"
    )


def _read_header(member: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type of an array.

    Raises:
        ValueError: The header is none.

    """
    try:
        version = npy.read_magic(member)
        return (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(
            member
        )
    except (
        Exception
    ) as error:  # It is Python text: tokenizer, parser and type each have errors of their own.
        raise ValueError(f"array header: {error}") from None


def _floats(array: NDArray[Any], shape: tuple[int, ...], where: str) -> Floats:
    if array.shape != shape or array.dtype.kind != "f":
        raise InputError(
            where,
            f"expected floating point {shape}, found {array.dtype} {array.shape}",
            "export the clip in BEATX's npz form",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array(
            array, dtype=np.float32, order="C"
        )  # A copy: the bytes of the file are read-only.


def _frame_rate(array: NDArray[Any], where: str) -> float:
    value = (
        float(array.reshape(-1)[0])
        if array.size == 1 and array.dtype.kind in "iuf"
        else float("nan")
    )
    if not 0 < value < 10_000:
        raise InputError(
            where,
            "expected one number of frames a second, such as 30,"
            f" found {repr(array.tolist())[:60]}",
            "write the clip's frame rate",
        )
    return value
