"""A body in SMPL-X's file format with geometry of our own, for machines without the licensed model.

The kinematic tree, the array names and the sizes (10,475 vertices, 300 + 100 shape components) are SMPL-X's; the
figure is a mannequin of ellipsoidal limbs, 1.72 m tall in a T-pose, pelvis 0.94 m above the soles and 0.36 m below
the origin. Beta 0 scales it, beta 1 makes it stouter, the others do nothing; expressions are smooth bumps of the face,
the first of them the lower lip. Every number made with it must say so: `Body.kind` is then "stand-in".
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mambatalk.files import atomic_file
from mambatalk.motion.body import STAND_IN_KEY
from mambatalk.motion.skeleton import BETAS_DIM, EXPRESSION_DIM, JOINT_COUNT, PARENTS

Array = NDArray[np.float64]

VERTEX_COUNT = 10_475
PELVIS_HEIGHT = -0.36
SOLE_HEIGHT = -1.30
"""Height of the soles in the T-pose, metres, when the translation is zero."""

_SIDE = {  # Left joints relative to the pelvis, metres: x to the figure's left, y up, z forward.
    1: (0.085, -0.07, 0.0), 4: (0.10, -0.47, 0.01), 7: (0.10, -0.86, -0.02), 10: (0.12, -0.91, 0.10),
    13: (0.07, 0.44, 0.0), 16: (0.18, 0.45, -0.01), 18: (0.45, 0.45, -0.02), 20: (0.70, 0.45, -0.01),
    23: (0.032, 0.685, 0.085),
}
_MIDDLE = {0: (0, 0, 0), 3: (0, 0.11, 0), 6: (0, 0.23, 0), 9: (0, 0.31, 0.01), 12: (0, 0.51, -0.01),
           15: (0, 0.60, 0.01), 22: (0, 0.615, 0.03)}
_FINGERS = {25: (0.09, 0.03), 28: (0.095, 0.01), 31: (0.08, -0.03), 34: (0.088, -0.01), 37: (0.03, 0.045)}
_PHALANX = (0.032, 0.024)
_RADIUS = {  # Bone from a joint to its first child: radii (side, depth) at its start, metres.
    0: (0.145, 0.105), 3: (0.14, 0.10), 6: (0.145, 0.105), 9: (0.15, 0.105), 12: (0.052, 0.055), 15: (0.078, 0.098),
    1: (0.082, 0.085), 4: (0.054, 0.058), 7: (0.042, 0.042), 10: (0.042, 0.032),
    13: (0.06, 0.06), 16: (0.048, 0.05), 18: (0.038, 0.038), 20: (0.043, 0.018),
}
_MIRROR = {1: 2, 4: 5, 7: 8, 10: 11, 13: 14, 16: 17, 18: 19, 20: 21, 23: 24}


def rest_skeleton() -> Array:
    """Joints (55, 3) of the T-pose in metres."""
    joints = np.zeros((JOINT_COUNT, 3))
    for joint, place in _MIDDLE.items():
        joints[joint] = place
    for left, place in _SIDE.items():
        joints[left] = place
        joints[_MIRROR[left]] = place * np.array([-1, 1, 1])
    for first, (out, depth) in _FINGERS.items():
        for k in range(3):
            place = joints[20] + (out + sum(_PHALANX[:k]), 0.0, depth + (0.012 * k if first == 37 else 0.0))
            joints[first + k] = place
            joints[first + 15 + k] = place * np.array([-1, 1, 1])
    joints[:, 1] += PELVIS_HEIGHT
    return joints


def write_stand_in(path: str | Path) -> None:
    """Write the mannequin as an npz that `smplx` loads; the same bytes every time."""
    joints = rest_skeleton()
    vertices, faces, weights, regressor = _mesh(joints)
    arrays = {
        "v_template": vertices, "weights": weights, "J_regressor": regressor,
        "shapedirs": _shape_directions(vertices, joints),
        "posedirs": np.zeros((VERTEX_COUNT, 3, 9 * (JOINT_COUNT - 1))),
        "hands_componentsl": np.eye(45), "hands_componentsr": np.eye(45),
        "hands_meanl": np.zeros(45), "hands_meanr": np.zeros(45),
        "lmk_bary_coords": np.full((51, 3), 1 / 3),
    }
    integers = {
        "f": faces, "kintree_table": np.array([np.array(PARENTS), np.arange(JOINT_COUNT)]),
        "lmk_faces_idx": np.arange(51), STAND_IN_KEY: np.array(1),
    }
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{key: value.astype(np.float32) for key, value in arrays.items()},
                            **{key: value.astype(np.int64) for key, value in integers.items()})


def _bones(joints: Array) -> list[tuple[int, Array, Array, tuple[float, float], float]]:
    """Each limb: joint that carries it, start, end, radii at the start (side, depth), ratio of the radii at its end."""
    bones = []
    for joint in range(JOINT_COUNT):
        if joint in (22, 23, 24):
            continue
        child = {0: 3, 3: 6, 6: 9, 9: 12, 12: 15}.get(joint) or next(
            (k for k in range(JOINT_COUNT) if PARENTS[k] == joint), None)
        left = {right: left for left, right in _MIRROR.items()}.get(joint, joint)
        radii = _RADIUS.get(left, (0.0095, 0.0095))
        end = joints[child] if child is not None else joints[joint] + _tip(joint)
        if joint in (20, 21):
            end = joints[joint] + np.array([0.10 if joint == 20 else -0.10, 0, 0.005])
        if joint == 15:
            end = joints[joint] + np.array([0, 0.20, 0.01])
        bones.append((joint, joints[joint], end, radii, {0: 0.9, 9: 0.55, 1: 0.66, 2: 0.66, 15: 1.0}.get(joint, 0.8)))
    return bones


def _tip(joint: int) -> Array:
    if joint in (10, 11):
        return np.array([0, -0.012, 0.07])
    return np.array([0.022 if joint < 40 else -0.022, 0, 0.004 if joint in (39, 54) else 0])


def _mesh(joints: Array) -> tuple[Array, NDArray[np.int64], Array, Array]:
    vertices, faces, weights = [], [], []
    regressor = np.zeros((JOINT_COUNT, VERTEX_COUNT))
    count = 0
    for joint, start, end, radii, taper in _bones(joints):
        finger = joint >= 25
        rings, sides = (8, 10) if finger else (16, 18) if joint != 15 else (36, 40)
        points, along = _tube(start, end, radii, taper, rings, sides)
        vertices.append(points)
        faces.append(_tube_faces(rings, sides) + count)
        weights.append(_blend(joint, along, len(points)))
        count += len(points)
    spare = VERTEX_COUNT - count - 4 * JOINT_COUNT
    if spare < 0:
        raise AssertionError(f"{-spare} vertices too many")
    for joint in range(JOINT_COUNT):  # Four hidden points around each joint, whose mean the regressor takes.
        offsets = 0.004 * np.array([[1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1]])
        vertices.append(joints[joint] + offsets)
        weights.append(np.tile(np.eye(JOINT_COUNT)[joint], (4, 1)))
        regressor[joint, count:count + 4] = 0.25
        count += 4
    vertices.append(np.tile(joints[0], (spare, 1)))
    weights.append(np.tile(np.eye(JOINT_COUNT)[0], (spare, 1)))
    points, skin = np.concatenate(vertices), np.concatenate(weights)
    return points, np.concatenate(faces), _jaw_weights(points, skin, joints), regressor


def _tube(start: Array, end: Array, radii: tuple[float, float], taper: float, rings: int, sides: int
          ) -> tuple[Array, Array]:
    """A rounded tube: points (rings * sides, 3) and where each lies along the bone, 0 to 1."""
    axis = end - start
    length = float(np.linalg.norm(axis))
    axis = axis / length
    depth = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.8 else np.array([0.0, 1.0, 0.0])
    depth -= axis * (depth @ axis)
    depth /= np.linalg.norm(depth)
    side = np.cross(axis, depth)
    t = (1 - np.cos(np.linspace(0, np.pi, rings))) / 2
    cap = 0.8 * min(radii[0], 0.35 * length + 0.02)  # The rounded ends reach past the joints so that limbs overlap.
    place = -cap + (length + 2 * cap) * t
    nose = np.clip(np.minimum(place + cap, length + cap - place) / max(2 * cap, 1e-6), 0, 1)
    width = np.sqrt(np.clip(1 - (1 - nose) ** 2, 0, 1)) * (1 + (taper - 1) * np.clip(place / length, 0, 1))
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    circle = np.cos(angle)[:, None] * side * radii[0] + np.sin(angle)[:, None] * depth * radii[1]
    points = start + place[:, None, None] * axis + width[:, None, None] * circle
    return points.reshape(-1, 3), np.repeat(np.clip(place / length, 0, 1), sides)


def _tube_faces(rings: int, sides: int) -> NDArray[np.int64]:
    ring, k = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    a, b = ring * sides + k, ring * sides + (k + 1) % sides
    quads = np.stack([np.stack([a, b, a + sides], -1), np.stack([b, b + sides, a + sides], -1)])
    return quads.reshape(-1, 3)


def _blend(joint: int, along: Array, count: int) -> Array:
    """Skinning weights: a bone's own joint, blended into the parent near its start."""
    weights = np.zeros((count, JOINT_COUNT))
    parent = PARENTS[joint] if PARENTS[joint] >= 0 else joint
    own = 0.5 + 0.5 * np.clip(along / 0.2, 0, 1)
    weights[:, parent] += 1 - own
    weights[:, joint] += own
    return weights


def _jaw_weights(points: Array, weights: Array, joints: Array) -> Array:
    """Let the lower front of the head follow the jaw."""
    relative = points - joints[22]
    head = weights[:, 15] > 0.4
    chin = np.clip((0.012 - relative[:, 1]) / 0.02, 0, 1) * np.clip((relative[:, 2] + 0.01) / 0.04, 0, 1)
    share = np.where(head, chin, 0.0)[:, None]
    return weights * (1 - share) + share * np.eye(JOINT_COUNT)[22]


def _shape_directions(vertices: Array, joints: Array) -> Array:
    directions = np.zeros((VERTEX_COUNT, 3, BETAS_DIM + EXPRESSION_DIM))
    directions[:, :, 0] = 0.025 * vertices
    directions[:, (0, 2), 1] = 0.03 * vertices[:, (0, 2)] * (np.abs(vertices[:, :1]) < 0.22)
    directions[:, :, BETAS_DIM:] = _expression_directions(vertices, joints)
    return directions


def _expression_directions(vertices: Array, joints: Array) -> Array:
    """Smooth bumps (V, 3, 100) on the front of the head, millimetres a unit, fixed by a seed."""
    random = np.random.default_rng(0)
    centre = joints[15] + np.array([0, 0.07, 0.0])
    reach = np.array([0.06, 0.09, 0.03])
    places = centre + np.array([0, 0, 0.09]) + random.uniform(-1, 1, (EXPRESSION_DIM, 3)) * reach
    moves = random.normal(0, 0.0015, (EXPRESSION_DIM, 3))
    places[:3] = joints[22] + np.array([[0, -0.015, 0.085], [0.03, 0, 0.08], [0, 0.10, 0.08]])
    moves[:3] = [[0, -0.004, 0.001], [0.003, 0.002, 0], [0, 0.003, 0]]
    distance = np.linalg.norm(vertices[:, None] - places[None], axis=-1)
    front = (vertices[:, 2] > joints[15, 2]) & (vertices[:, 1] > joints[15, 1] - 0.05) & (np.abs(vertices[:, 0]) < 0.1)
    bump = np.exp(-0.5 * (distance / 0.022) ** 2) * front[:, None]
    return bump[:, None, :] * moves.T[None]
