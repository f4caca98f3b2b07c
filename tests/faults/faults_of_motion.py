"""Faults of frames, parts and noise in the arrays of a motion, and the rules that find them.

Each works on any clip, so that the sample and real clips are damaged in the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from mambatalk.motion.skeleton import TRACKED_PARTS
from tests.faults.damage import Arrays

LEFT = (1, 4, 7, 10, 13, 16, 18, 20, *range(25, 40))
RIGHT = (2, 5, 8, 11, 14, 17, 19, 21, *range(40, 55))
UPRIGHT, SPEED = frozenset({"upright"}), frozenset({"translation_speed", "room", "rise"})
FINGERS = slice(75, 165)


@dataclass(frozen=True)
class MotionFault:
    """Damage to the arrays of a clip, given those of another clip of the same speaker."""

    name: str
    damage: Callable[[Arrays, Arrays], Any]
    rule: str
    also: frozenset[str] = field(default_factory=frozenset)
    """Other rules that the fault may violate, depending on the clip."""


def fault(name: str, rule: str, damage: Callable[[Arrays, Arrays], Any], *also: str) -> MotionFault:
    return MotionFault(name, damage, rule, frozenset(also))


def joints(arrays: Arrays) -> Any:
    """View the poses as (n, 55, 3)."""
    return arrays["poses"].reshape(len(arrays["poses"]), -1, 3)


def exchange_sides(arrays: Arrays, other: Arrays) -> None:
    poses = joints(arrays)
    poses[:, LEFT + RIGHT] = poses[:, RIGHT + LEFT]


def mirror(arrays: Arrays, other: Arrays) -> None:
    """Reflect the body as in a mirror: a plausible body, but of the other hand."""
    exchange_sides(arrays, other)
    joints(arrays)[:, :, 1:] *= -1
    arrays["trans"][:, 0] *= -1


def swap_axes(arrays: Arrays, other: Arrays, name: str) -> None:
    values = arrays[name].reshape(len(arrays[name]), -1, 3)
    values[..., (1, 2)] = values[..., (2, 1)]


def z_up(arrays: Arrays, other: Arrays) -> None:
    turn = Rotation.from_euler("x", 90, degrees=True)
    arrays["poses"][:, :3] = (turn * Rotation.from_rotvec(arrays["poses"][:, :3])).as_rotvec()
    arrays["trans"] = turn.apply(arrays["trans"])


def scale_place(arrays: Arrays, other: Arrays, factor: float) -> None:
    arrays["trans"] = arrays["trans"] * factor


def set_place(arrays: Arrays, other: Arrays, change: Callable[[Any], Any]) -> None:
    arrays["trans"] = np.asarray(change(arrays["trans"]), arrays["trans"].dtype)


def freeze(arrays: Arrays, other: Arrays, part: str) -> None:
    if part == "face":
        arrays["expressions"][:] = arrays["expressions"][100]
    else:
        joints(arrays)[:, TRACKED_PARTS[part]] = joints(arrays)[100, TRACKED_PARTS[part]]  # type: ignore[index]


def calm(arrays: Arrays, other: Arrays, part: str) -> None:
    """Leave a fiftieth of the movement of a part."""
    values = arrays["expressions"] if part == "face" else joints(arrays)
    columns = list(TRACKED_PARTS[part]) or slice(None)
    mean = values[:, columns].mean(axis=0)
    values[:, columns] = mean + (values[:, columns] - mean) / 50


def reorder_fingers(arrays: Arrays, other: Arrays, order: tuple[int, ...]) -> None:
    fingers = arrays["poses"][:, FINGERS].reshape(-1, 2, 5, 9)
    arrays["poses"][:, FINGERS] = fingers[:, :, order].reshape(-1, 90)


def roll_fingers(arrays: Arrays, other: Arrays, places: int) -> None:
    """Shift the rotations of both hands by a number of joints."""
    arrays["poses"][:, FINGERS] = np.roll(arrays["poses"][:, FINGERS], 3 * places, axis=1)


def of_other_clip(arrays: Arrays, other: Arrays, name: str, columns: slice) -> None:
    frames = min(len(arrays["poses"]), len(other["poses"]))
    for key in ("poses", "expressions", "trans"):
        arrays[key] = arrays[key][:frames]
    arrays[name][:, columns] = other[name][:frames, columns]


def noise(
    arrays: Arrays,
    other: Arrays,
    name: str,
    size: float,
    frames: slice = slice(None),
    columns: slice = slice(None),
) -> None:
    part = arrays[name][frames, columns]
    part += np.random.default_rng(0).normal(0, size, part.shape).astype(part.dtype)


def flip_branch(arrays: Arrays, other: Arrays) -> None:
    """Replace a second of an elbow's rotations by the equal ones the other way around."""
    vectors = joints(arrays)[60:90, 19]
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors *= 1 - 2 * np.pi / angle


def one_value(arrays: Arrays, other: Arrays, name: str, value: float) -> None:
    arrays[name][(60, 2) if arrays[name].ndim == 2 else 2] = value


FRAMES = [
    fault("left and right exchanged", "elbows_bend", exchange_sides, "finger_order", "elbow_axis"),
    fault(
        "y and z of the translation exchanged",
        "translation",
        partial(swap_axes, name="trans"),
        "rise",
    ),
    fault(
        "y and z of the rotations exchanged",
        "elbow_axis",
        partial(swap_axes, name="poses"),
        "elbows_bend",
        "finger_order",
        "on_floor",
    ),
    fault("a world with z up", "upright", z_up, "rise"),
    fault(
        "translation in centimetres",
        "translation",
        partial(scale_place, factor=100),
        *SPEED,
        "place_trembles",
    ),
    fault(
        "translation in millimetres",
        "translation",
        partial(scale_place, factor=1000),
        *SPEED,
        "place_trembles",
    ),
    fault("translation of zero", "translation", partial(scale_place, factor=0)),
    fault(
        "translation that froze",
        "translation",
        partial(set_place, change=lambda place: 0 * place + place[0]),
    ),
    fault(
        "a velocity per frame as translation",
        "translation",
        partial(set_place, change=lambda place: np.gradient(place, axis=0)),
    ),
    fault(
        "a velocity per second as translation",
        "translation",
        partial(set_place, change=lambda place: 30 * np.gradient(place, axis=0)),
        *SPEED,
    ),
    fault(
        "translation relative to the first frame",
        "translation",
        partial(set_place, change=lambda place: place - place[0]),
    ),
    fault(
        "a body one metre above the floor",
        "on_floor",
        partial(set_place, change=lambda place: place + (0, 1, 0)),
    ),
    fault(
        "feet half a metre below the floor",
        "on_floor",
        partial(set_place, change=lambda place: place - (0, 0.5, 0)),
    ),
    fault(
        "the thumb as the first finger",
        "finger_order",
        partial(reorder_fingers, order=(4, 0, 1, 3, 2)),
    ),
    fault("fingers shifted by one finger", "finger_order", partial(roll_fingers, places=3)),
    fault("fingers shifted back by one finger", "finger_order", partial(roll_fingers, places=-3)),
    fault("hands exchanged", "finger_order", partial(roll_fingers, places=15)),
]
PARTS = [
    *(
        fault(
            f"{part.replace('_', ' ')} frozen through the clip",
            f"frozen_{part}",
            partial(freeze, part=part),
            "face_moves" if part == "face" else "finger_order",
        )
        for part in TRACKED_PARTS
    ),
    fault(
        "expressions of another clip",
        "face_agrees",
        partial(of_other_clip, name="expressions", columns=slice(None)),
    ),
    fault(
        "the jaw of another clip",
        "face_agrees",
        partial(of_other_clip, name="poses", columns=slice(66, 69)),
    ),
]
NOISE = [
    *(
        fault(
            f"noise of {size} rad in all joints",
            "trembles",
            partial(noise, name="poses", size=size),
            "trembles_at_times",
            "face_agrees",
            "joint_jerk",
            "joint_speed",
            "hands_limit",
            "legs_limit",
            "jaw_limit",
            "trunk_limit",
            "arms_limit",
        )
        for size in (0.05, 0.1, 0.2)
    ),
    fault(
        "noise of 0.05 rad in one axis of one joint",
        "trembles",
        partial(noise, name="poses", size=0.05, columns=slice(55, 56)),
        "trembles_at_times",
        "frozen_limb",
    ),
    fault(
        "noise of 0.1 rad in one joint for four seconds",
        "trembles_at_times",
        partial(noise, name="poses", size=0.1, frames=slice(90, 210), columns=slice(54, 57)),
        "frozen_limb",
    ),
    fault(
        "noise of 2 cm in the translation",
        "place_trembles",
        partial(noise, name="trans", size=0.02),
    ),
    fault(
        "noise in the expressions",
        "face_trembles",
        partial(noise, name="expressions", size=0.2),
        "face_agrees",
    ),
    fault("a flip to the other branch of an axis-angle", "one_branch", flip_branch),
    *(
        fault(
            f"one value of {value:g} in {name}",
            "absurd_value",
            partial(one_value, name=name, value=value),
            *{
                "poses": ("rotation_norm", "joint_speed", "joint_jerk", "upright"),
                "trans": SPEED,
                "expressions": ("expression_range",),
                "betas": ("shape_range",),
            }[name],
        )
        for name in ("poses", "trans", "expressions", "betas")
        for value in (1e10, -1e38)
    ),
]
FAULTS = [*FRAMES, *PARTS, *NOISE]

UNUSUAL = [
    *(
        fault(
            f"{part.replace('_', ' ')} that hardly moves",
            f"usual_{part}",
            partial(calm, part=part),
        )
        for part in TRACKED_PARTS
    ),
    fault(
        "expression columns in another order",
        "expression_order",
        lambda arrays, other: arrays.update(
            expressions=np.ascontiguousarray(arrays["expressions"][:, ::-1])
        ),
    ),
    fault("fingers shifted by one joint", "usual_fingers", partial(roll_fingers, places=1)),
    fault("fingers shifted back by one joint", "usual_fingers", partial(roll_fingers, places=-1)),
    fault("a mirrored clip", "usual_sides", mirror),
    fault(
        "a body 0.25 m higher than in other clips",
        "usual_floor",
        partial(set_place, change=lambda place: place + (0, 0.25, 0)),
    ),
]
