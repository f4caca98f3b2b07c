"""The field's own result file: an npz that the SMPL-X add-on for Blender opens."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mambatalk.files import atomic_file
from mambatalk.motion.skeleton import FPS


@dataclass(frozen=True, kw_only=True)
class MotionResult:
    """Motion at 30 frames a second."""

    poses: NDArray[np.float32]
    """Axis-angle (n, 165), radians."""
    expressions: NDArray[np.float32]
    """(n, 100)."""
    trans: NDArray[np.float32]
    """(n, 3), metres."""


def write_result(path: str | Path, result: MotionResult, betas: NDArray[np.float32]) -> None:
    """Write motion and shape (300,) under the keys of the BEATX data set; the same bytes for the
    same motion.
    """
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            betas=betas,
            poses=result.poses,
            expressions=result.expressions,
            trans=result.trans,
            model=np.array("smplx2020"),
            gender=np.array("neutral"),
            mocap_frame_rate=np.array(FPS, np.int32),
        )
