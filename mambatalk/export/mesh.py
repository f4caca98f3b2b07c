"""The mesh of a body as engines draw it, and how far that is from the body model in millimetres.

Engines blend four joints for each vertex, where SMPL-X blends all, and know no pose correctives.
Expressions become morph targets of a basis that is made for the clip: SMPL-X's 100 would make a
file of 10 MB.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.rotations import axis_angle_to_matrix
from mambatalk.motion.skeleton import BETAS_DIM, JOINT_COUNT, JOINTS

Floats = NDArray[np.float32]

Material = Literal["figure", "eye", "pupil"]

EYES: Final = (JOINTS.index("left_eye"), JOINTS.index("right_eye"))
PUPIL_COSINE: Final = 0.8
"""Cosine of the angle to an eye's direction up to which its surface is the pupil's."""
INFLUENCES: Final = 4
EXPRESSION_ERROR: Final = 1e-4
"""Largest error of a vertex in metres. Morph targets are added until it is met."""
MOVED: Final = 1e-5
"""Smallest offset in metres at which a vertex counts as moved by the expressions."""
MEASURED_FRAMES: Final = 16
"""Frames on which errors are measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """A mesh with four joints per vertex and morph targets."""

    vertices: Floats
    """Rest vertices (V, 3) in metres."""
    normals: Floats
    """Unit normals (V, 3)."""
    faces: dict[Material, NDArray[np.uint32]]
    """Triangles (F, 3) of each material; eyes are apart, so that their direction shows."""
    joints: NDArray[np.uint8]
    """Joints (V, 4) of each vertex; 0 where the weight is 0."""
    weights: Floats
    """Weights (V, 4), with sum 1."""
    targets: Floats
    """Offsets (K, V, 3) in metres of the morph targets at weight 1."""
    target_weights: Floats
    """Weights (n, K) of the morph targets in each frame."""
    errors_mm: dict[str, dict[str, float]]
    """Mean and largest distance between this mesh and the body model, by reason."""


def build_mesh(body: Body, motion: SmplxMotion) -> Mesh:
    """Make the mesh of a motion, and measure its error on frames spread over the motion.

    Args:
        body: Body model.
        motion: Motion, which gives the body shape and the expressions.

    """
    used, flat = np.unique(body.faces.cpu().numpy(), return_inverse=True)
    faces = flat.reshape(-1, 3).astype(np.uint32)
    betas = torch.tensor(np.asarray(motion.betas, np.float32))[None]
    with torch.no_grad():
        rest, _ = body.shape(betas)
    vertices = rest[0].numpy()[used].astype(np.float32)
    joints, weights = _four_influences(body.weights.numpy()[used])
    targets, target_weights = _expression_basis(body, motion, used)
    return Mesh(
        vertices=vertices,
        normals=_normals(vertices, faces),
        faces=_faces_by_material(vertices, faces, body.weights.numpy()[used].argmax(axis=1)),
        joints=joints,
        weights=weights,
        targets=targets,
        target_weights=target_weights,
        errors_mm=_errors(body, motion, used, (joints, weights), (targets, target_weights)),
    )


def _four_influences(weights: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """Keep the four largest weights (V, 4) of each vertex, and scale them to sum 1."""
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :INFLUENCES]
    largest = np.take_along_axis(weights, joints, axis=1).astype(np.float64)
    largest /= largest.sum(axis=1, keepdims=True)
    rounded = largest.astype(np.float32)
    # The largest weight takes what rounding leaves.
    rounded[:, 0] = 1 - rounded[:, 1:].sum(axis=1, dtype=np.float64)
    return np.where(rounded > 0, joints, 0).astype(np.uint8), rounded


def _expression_basis(
    body: Body, motion: SmplxMotion, used: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Return as few targets (K, V, 3) as keep every frame within the error, and weights (n, K)."""
    directions = body.shapedirs[..., BETAS_DIM:].numpy()[used].astype(np.float64)
    moved = np.abs(directions).max(axis=(1, 2)) > MOVED
    # Directions of the moved vertices, (100, 3 M).
    face = directions[moved].transpose(2, 0, 1).reshape(directions.shape[2], -1)
    expressions = np.asarray(motion.expressions, np.float64)

    # Principal directions of the moves of this clip, without making the moves of all its frames.
    metric = np.linalg.cholesky(face @ face.T + 1e-12 * np.eye(len(face)))
    _, sizes, axes = np.linalg.svd(expressions @ metric, full_matrices=False)
    shares = np.linalg.solve(metric.T, axes.T).T
    count = _target_count(expressions, metric, axes, face, limit=int((sizes > 1e-9).sum()))

    basis = shares[:count] @ face
    weights = expressions @ metric @ axes[:count].T
    # Weights of at most 1, so that a viewer's sliders make sense.
    scale = np.maximum(np.abs(weights).max(axis=0, initial=1e-9), 1e-9)
    targets = np.zeros((count, len(used), 3), np.float32)
    targets[:, moved] = (basis * scale[:, None]).reshape(count, moved.sum(), 3)
    return targets, (weights / scale).astype(np.float32)


def _target_count(
    expressions: NDArray[np.float64],
    metric: NDArray[np.float64],
    axes: NDArray[np.float64],
    face: NDArray[np.float64],
    *,
    limit: int,
) -> int:
    """Return the number of targets that keep every vertex of the worst frames within the error."""
    worst = np.argsort(-np.linalg.norm(expressions @ metric, axis=1))[:MEASURED_FRAMES]
    moves = expressions[worst] @ face
    coordinates = expressions[worst] @ metric @ axes.T
    basis = np.linalg.solve(metric.T, axes.T).T @ face
    for count in range(limit + 1):
        left = (moves - coordinates[:, :count] @ basis[:count]).reshape(len(worst), -1, 3)
        if np.linalg.norm(left, axis=-1).max(initial=0) <= EXPRESSION_ERROR:
            return count
    return limit


def _faces_by_material(
    vertices: Floats, faces: NDArray[np.uint32], joint: NDArray[np.int64]
) -> dict[Material, NDArray[np.uint32]]:
    """Divide the faces (F, 3) into body, eyes and pupils.

    Args:
        vertices: Rest vertices (V, 3), in which both eyes look along z.
        faces: Triangles.
        joint: Joint (V,) that moves each vertex most.

    """
    in_eye = np.isin(joint, EYES)
    in_pupil = np.zeros(len(vertices), np.bool_)
    for eye in EYES:
        rows = np.flatnonzero(joint == eye)
        if len(rows):
            middle = (vertices[rows].min(axis=0) + vertices[rows].max(axis=0)) / 2
            outwards = vertices[rows] - middle
            cosine = outwards[:, 2] / np.maximum(np.linalg.norm(outwards, axis=1), 1e-9)
            in_pupil[rows] = cosine > PUPIL_COSINE
    pupil = in_pupil[faces].all(axis=1)
    eye_face = in_eye[faces].all(axis=1) & ~pupil
    parts: dict[Material, NDArray[np.uint32]] = {
        "figure": faces[~pupil & ~eye_face],
        "eye": faces[eye_face],
        "pupil": faces[pupil],
    }
    return {material: part for material, part in parts.items() if len(part)}


def _normals(vertices: Floats, faces: NDArray[np.uint32]) -> Floats:
    """Return the unit normal (V, 3) of each vertex: the mean of its faces by their area."""
    corners = vertices[faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.stack(
        [
            np.bincount(faces.ravel(), np.repeat(normals[:, axis], 3), len(vertices))
            for axis in range(3)
        ],
        axis=1,
    )
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    # A vertex of faces without area has no direction of its own.
    sums = np.where(length > 1e-12, sums / np.maximum(length, 1e-12), [0, 1, 0])
    return sums.astype(np.float32)


@torch.no_grad()
def _errors(
    body: Body,
    motion: SmplxMotion,
    used: NDArray[np.int64],
    influences: tuple[NDArray[np.uint8], Floats],
    expressions: tuple[Floats, Floats],
) -> dict[str, dict[str, float]]:
    """Measure the distance to the body model: of each simplification alone, and of all."""
    frames = np.unique(np.linspace(0, len(motion) - 1, MEASURED_FRAMES).astype(np.int64))
    poses = torch.tensor(np.asarray(motion.poses[frames], np.float32))
    rotations = axis_angle_to_matrix(poses.unflatten(-1, (JOINT_COUNT, 3)))
    betas = torch.tensor(np.asarray(motion.betas, np.float32)).expand(len(frames), -1)
    coefficients = torch.tensor(np.asarray(motion.expressions[frames], np.float32))

    joints, weights = influences
    full = torch.zeros_like(body.weights)
    rows = torch.from_numpy(used)
    dense = np.zeros((len(used), JOINT_COUNT), np.float32)
    for k in range(INFLUENCES):
        np.add.at(dense, (np.arange(len(used)), joints[:, k]), weights[:, k])
    full[rows] = torch.from_numpy(dense)

    def variant(*, weights: torch.Tensor, correctives: bool) -> Body:
        arrays = {name: array for name, array in body.named_buffers() if name != "weights"}
        if not correctives:
            arrays["posedirs"] = torch.zeros_like(body.posedirs)
        return Body({**arrays, "weights": weights}, kind=body.kind)

    truth = body.vertices(rotations, betas, coefficients)
    rest, rest_joints = body.shape(betas)
    targets, target_weights = expressions
    moved = torch.einsum(
        "nk,kvc->nvc", torch.from_numpy(target_weights[frames]), torch.from_numpy(targets)
    )
    drawn_rest = rest.clone()
    drawn_rest[:, rows] += moved
    drawn = variant(weights=full, correctives=False)
    meshes = {
        "four_influences": variant(weights=full, correctives=True).vertices(
            rotations, betas, coefficients
        ),
        "no_correctives": variant(weights=body.weights, correctives=False).vertices(
            rotations, betas, coefficients
        ),
        "all": drawn.skin(rotations, drawn_rest, rest_joints),
    }
    return {
        name: _millimetres((mesh - truth)[:, rows].norm(dim=-1)) for name, mesh in meshes.items()
    }


def _millimetres(distance: torch.Tensor) -> dict[str, float]:
    return {
        "mean": round(1000 * float(distance.mean()), 4),
        "max": round(1000 * float(distance.max()), 4),
    }
