"""Coefficients of ARKit blend shapes for a motion, on a basis that the user brings.

No map from SMPL-X's expressions to ARKit's shapes is free to use, and none is exact. Given the
shapes as offsets of SMPL-X's vertices, each frame is a bounded least-squares problem: coefficients
in [0, 1] whose face is nearest to the motion's. What they cannot express is reported.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from mambatalk.console import Progress
from mambatalk.errors import InputError
from mambatalk.files import load_bytes
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.npz import read_npz
from mambatalk.motion.rotations import axis_angle_to_matrix
from mambatalk.motion.skeleton import JOINT_COUNT, JOINTS

MAX_FILE_BYTES: Final = 2**28
UNRECOVERABLE: Final = "eyelook"
"""Beginning of the names, in lower case, of shapes that turn the eyes. The models do not move
eyes, so that they get no coefficients."""
CHUNK: Final = 64
"""Frames posed at a time."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ShapeBasis:
    """Blend shapes as offsets of vertices."""

    names: list[str]
    vertices: NDArray[np.int64]
    """Indices (M,) among the vertices of the body."""
    offsets: Floats
    """Offsets (K, M, 3) in metres at a coefficient of 1, in the rest pose."""

    @property
    def recoverable(self) -> NDArray[np.bool_]:
        """Whether a shape (K,) has coefficients: not if it turns the eyes."""
        return np.array([not name.lower().startswith(UNRECOVERABLE) for name in self.names])


@dataclass(frozen=True, eq=False)
class ShapeFit:
    """Coefficients of a motion, and how far they are from it."""

    coefficients: Floats
    """In [0, 1], (n, K); NaN for shapes that turn the eyes."""
    residual: Floats
    """Distance (n,) between both faces in metres: root mean square over the vertices."""
    movement: Floats
    """Distance (n,) between the motion's face and the resting face in metres, likewise."""


def read_basis(path: str | Path, body: Body) -> ShapeBasis:
    """Read an npz with `names` (K,), `vertices` (M,) and `offsets` (K, M, 3) in metres.

    Raises:
        InputError: The file is not such an npz, or is not made for this body.

    """
    data, where = load_bytes(path, where=None, limit=MAX_FILE_BYTES)
    arrays = read_npz(data, ("names", "vertices", "offsets"), where=where)
    names, vertices, offsets = (arrays[key] for key in ("names", "vertices", "offsets"))
    shape = (names.size, vertices.size, 3)
    if names.dtype.kind != "U" or names.ndim != 1 or not names.size:
        raise InputError(
            f"{where}: names",
            f"expected (K,) strings, found {names.dtype} {names.shape}",
            "write the names of the shapes",
        )
    if (
        vertices.dtype.kind not in "iu"
        or vertices.ndim != 1
        or not vertices.size
        or vertices.min() < 0
        or vertices.max() >= body.vertex_count
    ):
        raise InputError(
            f"{where}: vertices",
            f"expected (M,) indices below {body.vertex_count}, found {vertices.dtype}"
            f" {vertices.shape}",
            "use the vertices of SMPL-X",
        )
    if offsets.dtype.kind != "f" or offsets.shape != shape or not np.isfinite(offsets).all():
        raise InputError(
            f"{where}: offsets",
            f"expected finite numbers {shape}, found {offsets.dtype} {offsets.shape}",
            "write one offset in metres for each shape and vertex",
        )
    return ShapeBasis(names.tolist(), vertices.astype(np.int64), offsets.astype(np.float64))


def fit_shapes(
    motion: SmplxMotion, body: Body, basis: ShapeBasis, progress: Progress | None = None
) -> ShapeFit:
    """Fit the coefficients of each frame to what jaw and expressions do with the face.

    Args:
        motion: The motion.
        body: Body model of the basis.
        basis: The blend shapes.
        progress: Called with the number of finished frames and the total.

    """
    used = basis.recoverable
    matrix = basis.offsets[used].reshape(int(used.sum()), -1).T
    # A solution depends on a frame's offsets only by their projection on the shapes.
    directions, triangle = np.linalg.qr(matrix)
    coefficients = np.full((len(motion), len(basis.names)), np.nan)
    residual = np.empty(len(motion))
    movement = np.empty(len(motion))
    for start in range(0, len(motion), CHUNK):
        moved = _face_offsets(motion[start : start + CHUNK], body, basis.vertices)
        for frame, offsets in enumerate(moved.reshape(len(moved), -1), start=start):
            found = lsq_linear(triangle, directions.T @ offsets, bounds=(0, 1)).x
            coefficients[frame, used] = found
            residual[frame] = _rms(matrix @ found - offsets)
            movement[frame] = _rms(offsets)
            if progress:
                progress(frame + 1, len(motion))
    return ShapeFit(coefficients, residual, movement)


@torch.no_grad()
def _face_offsets(motion: SmplxMotion, body: Body, vertices: NDArray[np.int64]) -> Floats:
    """Return the offsets (n, M, 3) in metres of vertices by jaw and expressions alone."""
    jaw = JOINTS.index("jaw")
    poses = torch.zeros(len(motion), JOINT_COUNT, 3)
    poses[:, jaw] = torch.tensor(np.asarray(motion.poses[:, 3 * jaw : 3 * jaw + 3], np.float32))
    expressions = torch.tensor(np.asarray(motion.expressions, np.float32))
    betas = torch.tensor(np.asarray(motion.betas, np.float32)).expand(len(motion), -1)
    chosen = torch.from_numpy(vertices)

    def posed(rotations: torch.Tensor, coefficients: torch.Tensor) -> NDArray[Any]:
        return body.vertices(rotations, betas, coefficients, subset=chosen).double().numpy()

    rest = axis_angle_to_matrix(torch.zeros_like(poses))
    return posed(axis_angle_to_matrix(poses), expressions) - posed(
        rest, torch.zeros_like(expressions)
    )


def _rms(offsets: Floats) -> float:
    return float(np.sqrt(np.square(offsets).sum() / (len(offsets) // 3)))
