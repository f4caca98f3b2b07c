"""Motion of one clip: an npz of plain arrays, stored or compressed, in single or double precision."""

import io
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mambatalk.data.readers.source import Source, load, parsing
from mambatalk.errors import UserError
from mambatalk.motion.skeleton import BETAS_DIM, EXPRESSION_DIM, JOINT_COUNT

LIMIT = 1 << 30
"""Bytes of a file and of each array in it: over three hours of motion."""
_EXPECTED = "an npz with betas (300,), poses (n, 165), expressions (n, 100), trans (n, 3), mocap_frame_rate"
_WIDTHS = {"poses": 3 * JOINT_COUNT, "expressions": EXPRESSION_DIM, "trans": 3}


@dataclass(frozen=True, eq=False)
class Motion:
    """SMPL-X motion of n frames, all float32."""

    poses: NDArray[np.float32]
    """(n, 165) axis-angle of 55 joints, radians."""
    trans: NDArray[np.float32]
    """(n, 3) metres, y up."""
    expressions: NDArray[np.float32]
    """(n, 100) expression coefficients."""
    betas: NDArray[np.float32]
    """(300,) shape coefficients."""
    fps: float


def read_motion(source: Source, *, name: str = "data") -> Motion:
    """Read a clip's motion. Values are not judged (NaN passes): that is the checks' part.

    Raises:
        UserError: Not an npz, a key missing, an array of another shape or of objects, or lengths that differ.

    """
    data, name = load(source, name, limit=LIMIT, expected=_EXPECTED)
    with parsing(name, expected=_EXPECTED), zipfile.ZipFile(io.BytesIO(data)) as archive:
        missing = [key for key in ("betas", *_WIDTHS, "mocap_frame_rate") if f"{key}.npy" not in archive.namelist()]
        if missing:
            raise UserError(name, found=f"no {', '.join(missing)}", expected=_EXPECTED, do="export the clip again")
        arrays = {key: _member(archive, key, name) for key in ("betas", *_WIDTHS, "mocap_frame_rate")}
    _check_shapes(arrays, name)
    with np.errstate(over="ignore"):
        single = {key: np.ascontiguousarray(arrays[key], dtype=np.float32) for key in ("betas", *_WIDTHS)}
    return Motion(**single, fps=float(arrays["mocap_frame_rate"].reshape(())))


def _member(archive: zipfile.ZipFile, key: str, name: str) -> NDArray[Any]:
    """One array, refused before memory is taken for it if its header asks for objects or for more than the file has."""
    member = archive.getinfo(f"{key}.npy")
    if member.file_size > LIMIT:
        raise UserError(f"{name}: {key}", found=f"{member.file_size} bytes", expected=_EXPECTED, do="cut the clip")
    with archive.open(member) as file:
        raw = io.BytesIO(file.read(LIMIT))
    version = npy.read_magic(raw)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = header(raw)
    if dtype.kind not in "fiu":
        raise UserError(f"{name}: {key}", found=f"dtype {dtype}", expected="numbers (objects are never unpickled)",
                        do="export the clip again with plain arrays")
    count = int(np.prod([int(side) for side in shape], dtype=object)) if shape else 1
    if count * dtype.itemsize > member.file_size or min(shape, default=0) < 0:
        raise UserError(f"{name}: {key}", found=f"a header of shape {shape} over {member.file_size} bytes",
                        expected=_EXPECTED, do="get the file again")
    raw.seek(0)
    return npy.read_array(raw, allow_pickle=False)


def _check_shapes(arrays: dict[str, NDArray[Any]], name: str) -> None:
    frames = arrays["poses"].shape[:1]
    expected = {"betas": (BETAS_DIM,)} | {key: (*frames, width) for key, width in _WIDTHS.items()}
    for key, shape in expected.items():
        if arrays[key].shape != shape or 0 in shape:
            raise UserError(f"{name}: {key}", found=f"shape {arrays[key].shape}", expected=_EXPECTED,
                            do="export the clip again with equal lengths")
    if arrays["mocap_frame_rate"].size != 1 or not np.isfinite(arrays["mocap_frame_rate"]).all():
        raise UserError(f"{name}: mocap_frame_rate", found=f"shape {arrays['mocap_frame_rate'].shape}",
                        expected="one number", do="export the clip again")
