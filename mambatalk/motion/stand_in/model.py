"""Write the stand-in body: the file format of SMPL-X with other geometry.

The kinematic tree, the array names and the sizes (10,475 vertices, 300 + 100 shape components) are
those of SMPL-X. The figure is a lofted mannequin, 1.74 m tall in a T-pose, with the pelvis 0.94 m
above the soles and 0.36 m below the origin. Beta 0 scales it, beta 1 makes it wider, the others do
nothing. Expressions are smooth bumps of the face; the first one moves the lower lip. Results
computed with it must be marked: `Body.kind` is "stand-in".
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mambatalk.files import atomic_file
from mambatalk.motion.body import STAND_IN_KEY
from mambatalk.motion.skeleton import BETAS_DIM, EXPRESSION_DIM, JOINT_COUNT, PARENTS
from mambatalk.motion.stand_in.mannequin import mannequin

Array = NDArray[np.float64]

VERTEX_COUNT = 10_475
PELVIS_HEIGHT = -0.36
"""Height of the pelvis in the T-pose, metres, when the translation is zero."""
SOLE_HEIGHT = -1.30
"""Height of the soles in the T-pose, metres, when the translation is zero."""

# Joints relative to the pelvis in metres: x to the figure's left, y up, z forward.
_LEFT = {
    1: (0.085, -0.07, 0.0),
    4: (0.10, -0.47, 0.01),
    7: (0.10, -0.86, -0.02),
    10: (0.12, -0.91, 0.10),
    13: (0.07, 0.44, 0.0),
    16: (0.18, 0.45, -0.01),
    18: (0.45, 0.45, -0.02),
    20: (0.70, 0.45, -0.01),
    23: (0.032, 0.685, 0.085),
}
_MIDDLE = {
    0: (0.0, 0.0, 0.0),
    3: (0.0, 0.11, 0.0),
    6: (0.0, 0.23, 0.0),
    9: (0.0, 0.31, 0.01),
    12: (0.0, 0.51, -0.01),
    15: (0.0, 0.60, 0.01),
    22: (0.0, 0.615, 0.03),
}
# First joint of each finger relative to the wrist: distance along the arm, and forward.
_FINGERS = {
    25: (0.09, 0.03),
    28: (0.095, 0.01),
    31: (0.08, -0.03),
    34: (0.088, -0.01),
    37: (0.03, 0.045),
}
_PHALANX = (0.032, 0.024)
"""Lengths of the first two bones of a finger in metres."""
_THUMB = 37
# Right counterpart of each left joint.
_MIRROR = {1: 2, 4: 5, 7: 8, 10: 11, 13: 14, 16: 17, 18: 19, 20: 21, 23: 24}


def rest_skeleton() -> Array:
    """Return the joints (55, 3) of the T-pose in metres."""
    joints = np.zeros((JOINT_COUNT, 3))
    for joint, place in _MIDDLE.items():
        joints[joint] = place
    for left, place in _LEFT.items():
        joints[left] = place
        joints[_MIRROR[left]] = place * np.array([-1, 1, 1])
    for first, (out, depth) in _FINGERS.items():
        for k in range(3):
            forward = depth + (0.012 * k if first == _THUMB else 0.0)
            place = joints[20] + (out + sum(_PHALANX[:k]), 0.0, forward)
            joints[first + k] = place
            joints[first + 15 + k] = place * np.array([-1, 1, 1])
    joints[:, 1] += PELVIS_HEIGHT
    return joints


def write_stand_in(path: str | Path) -> None:
    """Write the mannequin as an npz that `smplx` loads, with the same bytes every time."""
    joints = rest_skeleton()
    vertices, faces, weights, regressor = _mesh(joints)
    arrays = {
        "v_template": vertices,
        "weights": weights,
        "J_regressor": regressor,
        "shapedirs": _shape_directions(vertices, joints),
        "posedirs": np.zeros((VERTEX_COUNT, 3, 9 * (JOINT_COUNT - 1))),
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "hands_meanl": np.zeros(45),
        "hands_meanr": np.zeros(45),
        "lmk_bary_coords": np.full((51, 3), 1 / 3),
    }
    integers = {
        "f": faces,
        "kintree_table": np.array([np.array(PARENTS), np.arange(JOINT_COUNT)]),
        "lmk_faces_idx": np.arange(51),
        STAND_IN_KEY: np.array(1),
    }
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            **{key: value.astype(np.float32) for key, value in arrays.items()},
            **{key: value.astype(np.int64) for key, value in integers.items()},
        )


def _mirrored() -> NDArray[np.int64]:
    """Return the index (55,) of each joint's counterpart on the other side."""
    other = np.arange(JOINT_COUNT)
    for left, right in _MIRROR.items():
        other[[left, right]] = right, left
    other[25:55] = np.roll(np.arange(25, 55), 15)
    return other


def _mesh(joints: Array) -> tuple[Array, NDArray[np.int64], Array, Array]:
    """Build vertices, faces, skinning weights and joint regressor.

    The regressor averages four points around each joint, which no face uses. Further unused
    vertices fill the mesh up to the size of SMPL-X.
    """
    raised = np.array([0, PELVIS_HEIGHT, 0])
    figure = mannequin(joints - raised, _mirrored())
    around = 0.004 * np.array([[1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1]])
    hidden = (joints[:, None] + around).reshape(-1, 3)
    first = len(figure.vertices)
    spare = VERTEX_COUNT - first - len(hidden)
    vertices = np.concatenate([figure.vertices + raised, hidden, np.tile(joints[0], (spare, 1))])
    weights = np.concatenate(
        [
            figure.weights,
            np.repeat(np.eye(JOINT_COUNT), 4, axis=0),
            np.tile(np.eye(JOINT_COUNT)[0], (spare, 1)),
        ]
    )
    regressor = np.zeros((JOINT_COUNT, VERTEX_COUNT))
    regressor[:, first : first + len(hidden)] = np.repeat(np.eye(JOINT_COUNT), 4, axis=1) / 4
    return vertices, figure.faces, weights, regressor


def _shape_directions(vertices: Array, joints: Array) -> Array:
    directions = np.zeros((VERTEX_COUNT, 3, BETAS_DIM + EXPRESSION_DIM))
    directions[:, :, 0] = 0.025 * vertices
    directions[:, (0, 2), 1] = 0.03 * vertices[:, (0, 2)] * (np.abs(vertices[:, :1]) < 0.22)
    directions[:, :, BETAS_DIM:] = _expression_directions(vertices, joints)
    return directions


def _expression_directions(vertices: Array, joints: Array) -> Array:
    """Return smooth bumps (V, 3, 100) on the front of the head, in metres per unit."""
    random = np.random.default_rng(0)
    centre = joints[15] + np.array([0, 0.07, 0.0])
    reach = np.array([0.06, 0.09, 0.03])
    places = centre + np.array([0, 0, 0.09]) + random.uniform(-1, 1, (EXPRESSION_DIM, 3)) * reach
    moves = random.normal(0, 0.0015, (EXPRESSION_DIM, 3))
    places[:3] = joints[22] + np.array([[0, -0.015, 0.085], [0.03, 0, 0.08], [0, 0.10, 0.08]])
    moves[:3] = [[0, -0.004, 0.001], [0.003, 0.002, 0], [0, 0.003, 0]]
    distance = np.linalg.norm(vertices[:, None] - places[None], axis=-1)
    front = (
        (vertices[:, 2] > joints[15, 2])
        & (vertices[:, 1] > joints[15, 1] - 0.05)
        & (np.abs(vertices[:, 0]) < 0.1)
    )
    bump = np.exp(-0.5 * (distance / 0.022) ** 2) * front[:, None]
    return bump[:, None, :] * moves.T[None]
