"""BVH: a skeleton and its motion as text, which nearly all animation software reads.

Lengths are in centimetres, y is up and the figure faces z, as software expects of this format. The
rest pose is the T-pose. Faces, body shape and expressions have no place in the format.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mambatalk.export.rest import bone_offsets, local_rotations, rest_joints
from mambatalk.files import atomic_file
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import JOINT_COUNT, JOINTS, PARENTS

CENTIMETRES: Final = 100.0
EULER: Final = "ZXY"
"""Order of the rotation channels; each turns about the axes that the earlier ones have turned."""
ROTATIONS: Final = " ".join(f"{axis}rotation" for axis in EULER)
TIP: Final = 0.02
"""Length in metres of the ends of jaw and eyes, which have no bone to continue."""
CHUNK: Final = 1024
"""Frames converted at a time."""


def write_bvh(path: str | Path, motion: SmplxMotion, body: Body) -> None:
    """Write motion as BVH with 55 joints.

    Args:
        path: File to write.
        motion: The motion.
        body: Body model, which gives the lengths of the bones.

    Raises:
        InputError: The file cannot be written.

    """
    joints = rest_joints(body, motion)
    with atomic_file(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write("HIERARCHY\n")
        file.writelines(f"{line}\n" for line in _hierarchy(0, bone_offsets(joints), ""))
        file.write(f"MOTION\nFrames: {len(motion)}\nFrame Time: {1 / motion.fps:.9f}\n")
        last = None
        for first in range(0, len(motion), CHUNK):
            chunk = motion[first : first + CHUNK]
            angles = _euler_angles(chunk, last)
            last = angles[-1]
            places = CENTIMETRES * (chunk.trans + joints[0])
            rows = np.concatenate(
                [places, angles[:, _file_order()].reshape(len(chunk), -1)], axis=1
            )
            np.savetxt(file, rows, fmt="%.6f")


def _hierarchy(joint: int, offsets: NDArray[np.float64], indent: str) -> Iterator[str]:
    """Yield the lines of a joint and all joints below it."""
    children = [child for child in range(JOINT_COUNT) if PARENTS[child] == joint]
    channels = f"3 {ROTATIONS}"
    if joint == 0:
        yield f"ROOT {JOINTS[0]}"
        channels = f"6 Xposition Yposition Zposition {ROTATIONS}"
    else:
        yield f"{indent}JOINT {JOINTS[joint]}"
    yield f"{indent}{{"
    inner = indent + "  "
    yield f"{inner}OFFSET {_numbers(offsets[joint])}"
    yield f"{inner}CHANNELS {channels}"
    for child in children:
        yield from _hierarchy(child, offsets, inner)
    if not children:
        # A bone ends as far from its last joint as that is from the joint before.
        tip = np.array([0, 0, TIP]) if JOINTS[joint] in ("jaw", "left_eye", "right_eye") else None
        yield f"{inner}End Site"
        yield f"{inner}{{"
        yield f"{inner}  OFFSET {_numbers(offsets[joint] if tip is None else tip)}"
        yield f"{inner}}}"
    yield f"{indent}}}"


def _file_order() -> list[int]:
    """Return the joints in the order of the hierarchy: depth first."""

    def below(joint: int) -> Iterator[int]:
        yield joint
        for child in range(JOINT_COUNT):
            if PARENTS[child] == joint:
                yield from below(child)

    return list(below(0))


def _numbers(place: NDArray[np.float64]) -> str:
    return " ".join(f"{CENTIMETRES * value:.6f}" for value in place)


def _euler_angles(motion: SmplxMotion, before: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return Euler angles (n, 55, 3) in degrees without jumps of a full turn.

    Args:
        motion: n frames.
        before: Angles (55, 3) of the frame before. If None, the motion starts the file.

    """
    angles = local_rotations(motion).as_euler(EULER, degrees=True)
    angles = angles.reshape(len(motion), JOINT_COUNT, 3)
    if before is None:
        return np.unwrap(angles, axis=0, period=360)
    return np.unwrap(np.concatenate([before[None], angles]), axis=0, period=360)[1:]
