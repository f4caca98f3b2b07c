"""One clip of SMPL-X motion, and the npz file that holds it in this field."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.errors import InputError
from mambatalk.files import Source, atomic_file, load_bytes
from mambatalk.motion.npz import read_npz
from mambatalk.motion.skeleton import BETAS_DIM, EXPRESSION_DIM, FPS, JOINT_COUNT

MAX_FILE_BYTES: Final = 2**29
FRAME_ARRAYS: Final = {"poses": 3 * JOINT_COUNT, "expressions": EXPRESSION_DIM, "trans": 3}
"""Arrays with one line per frame, and their channels."""
FRAME_RATE_KEY: Final = "mocap_frame_rate"

Floats = NDArray[np.floating[Any]]


def _mean_shape() -> NDArray[np.float32]:
    return np.zeros(BETAS_DIM, np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class SmplxMotion:
    """A clip of whole-body motion: pose, face, place and shape of one SMPL-X body.

    `len(motion)` is the number of frames and `motion[10:40]` a clip of 30 of them (a view, not a
    copy). Values may be NaN or infinite: recorded files hold such frames, and the data checks
    report them.

    Args:
        poses: Joint rotations in axis-angle form (n, 165), radians: 55 joints in SMPL-X order.
        expressions: Expression coefficients (n, 100).
        trans: Translation of the body (n, 3), metres, y up. BEATX stores it in double precision.
        betas: Body shape (300,). Zero, the default, is the mean shape.
        fps: Frames per second. The models, metrics and renderers expect 30.

    Raises:
        ValueError: An array has the wrong shape or is not floating point, or the frame rate is not
            positive.

    """

    poses: Floats
    expressions: Floats
    trans: Floats
    betas: Floats = field(default_factory=_mean_shape)
    fps: float = FPS

    def __post_init__(self) -> None:
        frames = self.poses.shape[:1]
        shapes = {name: (*frames, width) for name, width in FRAME_ARRAYS.items()}
        shapes["betas"] = (BETAS_DIM,)
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype.kind != "f":
                raise ValueError(
                    f"{name}: expected floating point {shape}, found {array.dtype} {array.shape}"
                )
        if not self.fps > 0:
            raise ValueError(f"fps: expected a positive frame rate, found {self.fps}")

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.poses)

    def __getitem__(self, frames: slice) -> "SmplxMotion":
        """Return the frames of a slice as a clip of the same shape and frame rate."""
        return SmplxMotion(
            poses=self.poses[frames],
            expressions=self.expressions[frames],
            trans=self.trans[frames],
            betas=self.betas,
            fps=self.fps,
        )

    @classmethod
    def read(cls, source: Source, *, where: str | None = None) -> "SmplxMotion":
        """Read an npz file of BEATX or of a tool that writes the same form.

        The arrays may be float32 or float64, stored or compressed. Poses, expressions and betas
        are returned as float32, the translation as float64.

        Args:
            source: Path, or the content of the file.
            where: Name for error messages; by default the path.

        Raises:
            InputError: The file is missing or too large, is not an npz, is damaged, holds pickled
                objects, lacks an array, or has an array of another shape or type or no valid frame
                rate.

        """
        data, name = load_bytes(source, where=where, limit=MAX_FILE_BYTES)
        arrays = read_npz(data, (*FRAME_ARRAYS, "betas", FRAME_RATE_KEY), where=name)
        frames = arrays["poses"].shape[0] if arrays["poses"].ndim else 0
        if frames == 0:
            raise InputError(
                f"{name}: poses",
                f"expected at least one frame, found shape {arrays['poses'].shape}",
                "leave the clip out or export it again",
            )
        shapes: dict[str, tuple[int, ...]] = {
            key: (frames, width) for key, width in FRAME_ARRAYS.items()
        }
        shapes["betas"] = (BETAS_DIM,)
        values: dict[str, Floats] = {
            key: _floats(arrays[key], shape, f"{name}: {key}") for key, shape in shapes.items()
        }
        values["trans"] = np.array(arrays["trans"], np.float64)
        return cls(**values, fps=_frame_rate(arrays[FRAME_RATE_KEY], f"{name}: {FRAME_RATE_KEY}"))

    def write(self, path: str | Path) -> None:
        """Write an npz file that the SMPL-X add-on for Blender and the tools of BEATX open.

        The same motion gives the same bytes.

        Raises:
            InputError: The file cannot be written.

        """
        rate = np.array(self.fps, np.int32 if self.fps == int(self.fps) else np.float64)
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                betas=self.betas,
                poses=self.poses,
                expressions=self.expressions,
                trans=self.trans,
                model=np.array("smplx2020"),
                gender=np.array("neutral"),
                mocap_frame_rate=rate,
            )


def _floats(array: NDArray[Any], shape: tuple[int, ...], where: str) -> NDArray[np.float32]:
    if array.shape != shape or array.dtype.kind != "f":
        raise InputError(
            where,
            f"expected floating point {shape}, found {array.dtype} {array.shape}",
            "export the clip in BEATX's npz form",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        # A copy, since the bytes of the file are read-only.
        return np.array(array, dtype=np.float32, order="C")


def _frame_rate(array: NDArray[Any], where: str) -> float:
    single = array.size == 1 and array.dtype.kind in "iuf"
    value = float(array.reshape(-1)[0]) if single else float("nan")
    if not 0 < value < 10_000:
        raise InputError(
            where,
            "expected one number of frames per second, such as 30,"
            f" found {repr(array.tolist())[:60]}",
            "write the clip's frame rate",
        )
    return value
