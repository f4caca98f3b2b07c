"""The figure of the stand-in body: limbs lofted through cross sections, with skinning weights.

Lengths are in metres; x is the figure's left, y up, z forward, and the pelvis joint is the origin.
Every limb follows one axis. Its table has one line per cross section: place on that axis, two half
widths, two coordinates of the centre (both in the order x, y, z without the axis). The right side
is the mirrored left side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.float64]
Faces = NDArray[np.int64]

TORSO = [
    (-0.135, 0.000, 0.000, 0, 0.000),
    (-0.128, 0.060, 0.060, 0, 0.000),
    (-0.100, 0.130, 0.098, 0, -0.002),
    (-0.060, 0.160, 0.114, 0, -0.006),
    (0.000, 0.164, 0.116, 0, -0.006),
    (0.070, 0.147, 0.104, 0, 0.000),
    (0.140, 0.128, 0.092, 0, 0.004),
    (0.190, 0.127, 0.093, 0, 0.006),
    (0.260, 0.143, 0.104, 0, 0.008),
    (0.330, 0.160, 0.113, 0, 0.006),
    (0.390, 0.171, 0.108, 0, 0.000),
    (0.435, 0.168, 0.090, 0, -0.006),
    (0.468, 0.138, 0.072, 0, -0.010),
    (0.495, 0.088, 0.060, 0, -0.012),
    (0.515, 0.058, 0.055, 0, -0.012),
    (0.530, 0.000, 0.000, 0, -0.010),
]
NECK = [
    (0.455, 0.040, 0.040, 0, -0.012),
    (0.480, 0.060, 0.058, 0, -0.012),
    (0.530, 0.052, 0.054, 0, -0.008),
    (0.590, 0.051, 0.056, 0, 0.000),
    (0.625, 0.048, 0.052, 0, 0.004),
]
HEAD = [
    (0.552, 0.000, 0.000, 0, 0.072),
    (0.556, 0.020, 0.020, 0, 0.068),
    (0.566, 0.036, 0.040, 0, 0.055),
    (0.585, 0.050, 0.062, 0, 0.038),
    (0.610, 0.060, 0.082, 0, 0.024),
    (0.645, 0.068, 0.092, 0, 0.016),
    (0.690, 0.074, 0.098, 0, 0.009),
    (0.730, 0.074, 0.097, 0, 0.004),
    (0.760, 0.066, 0.087, 0, 0.002),
    (0.782, 0.048, 0.064, 0, 0.000),
    (0.794, 0.024, 0.032, 0, 0.000),
    (0.797, 0.000, 0.000, 0, 0.000),
]
LEG = [
    (-0.915, 0.000, 0.000, 0.100, -0.015),
    (-0.905, 0.026, 0.034, 0.100, -0.015),
    (-0.880, 0.033, 0.041, 0.100, -0.017),
    (-0.840, 0.034, 0.038, 0.100, -0.018),
    (-0.780, 0.036, 0.040, 0.100, -0.019),
    (-0.690, 0.047, 0.052, 0.101, -0.018),
    (-0.600, 0.054, 0.061, 0.101, -0.014),
    (-0.530, 0.050, 0.056, 0.100, -0.002),
    (-0.470, 0.053, 0.059, 0.099, 0.012),
    (-0.420, 0.057, 0.063, 0.097, 0.012),
    (-0.300, 0.072, 0.078, 0.093, 0.008),
    (-0.180, 0.084, 0.090, 0.088, 0.002),
    (-0.100, 0.084, 0.094, 0.084, -0.004),
    (-0.050, 0.066, 0.080, 0.080, -0.004),
    (-0.020, 0.000, 0.000, 0.078, 0.000),
]
FOOT = [
    (-0.088, 0.000, 0.000, 0.100, -0.912),
    (-0.082, 0.020, 0.020, 0.100, -0.914),
    (-0.062, 0.032, 0.034, 0.100, -0.906),
    (-0.020, 0.036, 0.044, 0.101, -0.897),
    (0.030, 0.038, 0.042, 0.105, -0.899),
    (0.080, 0.044, 0.033, 0.113, -0.908),
    (0.120, 0.047, 0.027, 0.119, -0.914),
    (0.155, 0.043, 0.022, 0.121, -0.919),
    (0.180, 0.032, 0.017, 0.121, -0.923),
    (0.192, 0.016, 0.010, 0.120, -0.928),
    (0.196, 0.000, 0.000, 0.120, -0.929),
]
ARM = [
    (0.085, 0.000, 0.000, 0.415, -0.010),
    (0.100, 0.034, 0.038, 0.416, -0.010),
    (0.130, 0.054, 0.057, 0.424, -0.010),
    (0.165, 0.061, 0.063, 0.434, -0.010),
    (0.210, 0.056, 0.058, 0.442, -0.011),
    (0.280, 0.047, 0.049, 0.448, -0.014),
    (0.360, 0.043, 0.045, 0.450, -0.017),
    (0.430, 0.037, 0.039, 0.450, -0.020),
    (0.465, 0.037, 0.040, 0.450, -0.020),
    (0.520, 0.039, 0.042, 0.450, -0.018),
    (0.600, 0.032, 0.036, 0.450, -0.014),
    (0.670, 0.024, 0.030, 0.450, -0.011),
    (0.705, 0.021, 0.028, 0.450, -0.010),
    (0.720, 0.000, 0.000, 0.450, -0.010),
]
PALM = [
    (0.688, 0.000, 0.000, 0.450, -0.008),
    (0.694, 0.016, 0.022, 0.450, -0.007),
    (0.715, 0.018, 0.032, 0.450, -0.002),
    (0.740, 0.017, 0.040, 0.449, 0.000),
    (0.770, 0.015, 0.043, 0.449, 0.000),
    (0.790, 0.013, 0.041, 0.449, 0.001),
    (0.800, 0.000, 0.000, 0.449, 0.002),
]
FACE = [
    ((0, 0.658), (0.010, 0.022), 0.020),
    ((0, 0.645), (0.014, 0.008), 0.008),
    ((0, 0.700), (0.040, 0.010), 0.005),
    ((0.031, 0.684), (0.016, 0.011), -0.011),
    ((-0.031, 0.684), (0.016, 0.011), -0.011),
    ((0, 0.612), (0.020, 0.005), 0.006),
    ((0, 0.596), (0.018, 0.005), 0.006),
    ((0, 0.604), (0.022, 0.0035), -0.005),
    ((0, 0.570), (0.020, 0.012), 0.006),
]
"""Bumps on the front of the head: place (x, y), spread, height.

In order: nose, tip of the nose, brow, two eyes, two lips, mouth, chin.
"""
FINGER_RADII = (0.0, 0.0085, 0.0098, 0.0088, 0.0082, 0.0066, 0.0)
"""Radii at two points inside the palm, then base, two knuckles, pad and tip."""


@dataclass(frozen=True)
class Mesh:
    """A closed surface."""

    vertices: Array
    """(V, 3) metres."""
    faces: Faces
    """(F, 3), counter-clockwise from outside."""
    weights: Array
    """Skinning weights (V, 55), rows sum to 1."""


def mannequin(joints: Array, mirrored: NDArray[np.int64]) -> Mesh:
    """Build the whole figure.

    Args:
        joints: Rest joints (55, 3) in metres, pelvis at the origin.
        mirrored: Index (55,) of each joint's counterpart on the other side.

    """
    left = [
        _limb(LEG, 1, (36, 28), [(-9, 7), (-0.86, 4), (-0.47, 1), (-0.06, 0)], spread=0.05),
        _limb(FOOT, 2, (18, 20), [(-9, 7), (0.10, 10)], spread=0.03),
        _limb(ARM, 0, (32, 24), [(-9, 13), (0.17, 16), (0.45, 18), (0.70, 20)], spread=0.04),
        _limb(PALM, 0, (10, 20), [(-9, 18), (0.70, 20)], spread=0.012),
        *(_finger(joints, first) for first in range(25, 40, 3)),
        _eyeball(joints[23]),
    ]
    middle = [
        _torso(),
        _limb(NECK, 1, (8, 28), [(-9, 9), (0.50, 12), (0.59, 15)], spread=0.03),
        _head(joints),
    ]
    return _join([*middle, *left, *(_mirror(mesh, mirrored) for mesh in left)])


def _limb(
    table: Sequence[tuple[float, ...]],
    axis: int,
    size: tuple[int, int],
    chain: list[tuple[float, int]],
    *,
    spread: float,
) -> Mesh:
    """Build a limb.

    Args:
        table: Cross sections, as described at the top of this module.
        axis: Axis that the limb follows.
        size: Number of rings and of vertices per ring.
        chain: Places on the axis, ascending, with the joint that moves the limb beyond each.
        spread: Metres over which neighbouring joints blend.

    """
    vertices, faces = _loft(np.array(table, float), axis, *size)
    return Mesh(vertices, faces, _chain_weights(vertices[:, axis], chain, spread))


def _loft(table: Array, axis: int, rings: int, sides: int) -> tuple[Array, Faces]:
    """Interpolate rings through the cross sections.

    They are spaced evenly along the outline, so that round ends stay round.

    Returns:
        Vertices (rings x sides, 3) and faces (F, 3).

    """
    steps = np.linalg.norm(np.diff(table[:, :3], axis=0), axis=1)
    outline = np.concatenate([[0], steps.cumsum()])
    place, *rest = PchipInterpolator(outline, table)(np.linspace(0, outline[-1], rings)).T
    widths = np.array(rest[:2])
    centres = np.array(rest[2:])
    # In this order the ring is counter-clockwise about the axis, so that faces point outwards.
    first, second = (axis + 1) % 3, (axis + 2) % 3
    order = [sorted((first, second)).index(k) for k in (first, second)]
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    points = np.empty((rings, sides, 3))
    points[..., axis] = place[:, None]
    points[..., first] = centres[order[0]][:, None] + widths[order[0]][:, None] * np.cos(angle)
    points[..., second] = centres[order[1]][:, None] + widths[order[1]][:, None] * np.sin(angle)
    return points.reshape(-1, 3), _loft_faces(rings, sides)


def _loft_faces(rings: int, sides: int) -> Faces:
    ring, k = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    a = ring * sides + k
    b = ring * sides + (k + 1) % sides
    lower = np.stack([a, b, a + sides], -1)
    upper = np.stack([b, b + sides, a + sides], -1)
    return np.stack([lower, upper]).reshape(-1, 3)


def _chain_weights(place: Array, chain: list[tuple[float, int]], spread: float) -> Array:
    """Return skinning weights (V, 55) along a limb.

    Each joint moves what lies beyond its place; neighbours blend over `spread` metres on both sides
    of it.
    """
    weights = np.zeros((len(place), 55))
    reached = [_smooth((place - start + spread) / (2 * spread)) for start, _ in chain]
    for k, (_, joint) in enumerate(chain):
        is_last = k + 1 == len(chain)
        weights[:, joint] += reached[k] if is_last else reached[k] * (1 - reached[k + 1])
    return weights / weights.sum(1, keepdims=True)


def _smooth(t: Array) -> Array:
    """Step smoothly from 0 to 1 while t goes from 0 to 1."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _torso() -> Mesh:
    """Build the trunk from pelvis to neck; the shoulders move with the collar bones."""
    mesh = _limb(
        TORSO, 1, (40, 44), [(-9, 0), (0.10, 3), (0.22, 6), (0.32, 9), (0.50, 12)], spread=0.06
    )
    weights = mesh.weights
    for collar, side in ((13, 1), (14, -1)):
        outwards = _smooth((side * mesh.vertices[:, 0] - 0.06) / 0.10)
        upwards = _smooth((mesh.vertices[:, 1] - 0.33) / 0.08)
        share = 0.7 * outwards * upwards
        weights = weights * (1 - share[:, None]) + share[:, None] * np.eye(55)[collar]
    return Mesh(mesh.vertices, mesh.faces, weights)


def _head(joints: Array) -> Mesh:
    """Build an egg with a nose, hollows for the eyes, lips, and a jaw that moves with its joint."""
    vertices, faces = _loft(np.array(HEAD, float), 1, 44, 48)
    front = _smooth((vertices[:, 2] - 0.04) / 0.04)
    for (x, y), (wide, high), depth in FACE:
        across, along = (vertices[:, 0] - x) / wide, (vertices[:, 1] - y) / high
        bump = np.exp(-0.5 * (across**2 + along**2))
        vertices[:, 2] += depth * bump * front
    relative = vertices - joints[22]
    jaw = _smooth((-0.008 - relative[:, 1]) / 0.012) * _smooth((relative[:, 2] + 0.03) / 0.05)
    weights = np.outer(1 - jaw, np.eye(55)[15]) + np.outer(jaw, np.eye(55)[22])
    return Mesh(vertices, faces, weights)


def _eyeball(centre: Array) -> Mesh:
    angle = np.linspace(0, np.pi, 9)
    table = np.stack(
        [
            centre[2] - 0.0125 * np.cos(angle),
            *([0.0125 * np.sin(angle)] * 2),
            np.full(9, centre[0]),
            np.full(9, centre[1]),
        ],
        axis=1,
    )
    vertices, faces = _loft(table, 2, 9, 12)
    return Mesh(vertices, faces, np.tile(np.eye(55)[23], (len(vertices), 1)))


def _finger(joints: Array, first: int) -> Mesh:
    """Build the finger of three joints that starts at joint `first`."""
    base, middle, last = joints[first : first + 3]
    tip = last + (last - middle) * 0.9
    centres = np.stack(
        [
            base - 0.016 * np.array([1, 0, 0]),
            base - 0.010 * np.array([1, 0, 0]),
            base,
            middle,
            last,
            last + 0.85 * (tip - last),
            tip,
        ]
    )
    radii = np.array(FINGER_RADII)
    table = np.stack([centres[:, 0], 0.92 * radii, radii, centres[:, 1], centres[:, 2]], axis=1)
    vertices, faces = _loft(table, 0, 12, 9)
    chain = [
        (-9.0, 20),
        (float(base[0]), first),
        (float(middle[0]), first + 1),
        (float(last[0]), first + 2),
    ]
    return Mesh(vertices, faces, _chain_weights(vertices[:, 0], chain, 0.006))


def _mirror(mesh: Mesh, mirrored: NDArray[np.int64]) -> Mesh:
    return Mesh(mesh.vertices * [-1, 1, 1], mesh.faces[:, ::-1], mesh.weights[:, mirrored])


def _join(meshes: list[Mesh]) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]),
        np.concatenate([mesh.weights for mesh in meshes]),
    )
