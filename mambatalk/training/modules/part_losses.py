"""Loss terms of the five auto-encoders, published and corrected.

Both forms share their reconstruction terms. They differ where meshes are compared over "time": the
published slices run along the vertex index, ours along time; where the face is compared: the
published meshes swap the expressions, so that errors of jaw and expression can cancel; and in the
lower body's translation, which only ours supervises.
Source: published trainers `ae`, `aeface`, `aelowerfoot`, `aelower`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.errors import InputError
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import FidelityRules
from mambatalk.motion.body import Body
from mambatalk.motion.parts import (
    LEGS,
    PART_CONTACT,
    PART_TRANSLATION,
    ground_velocity,
    integrate_ground,
)
from mambatalk.motion.rotations import matrix_from_6d
from mambatalk.motion.skeleton import (
    CONTACT,
    FOOT_JOINTS,
    JOINT_COUNT,
    PART_JOINTS,
    TRANSLATION,
    AutoEncoder,
    Part,
    pose_channels,
)
from mambatalk.training.losses import (
    TIME,
    VERTEX,
    difference,
    foot_sliding,
    geodesic,
    l1_of_differences,
    mse_of_differences,
    total,
)

Terms = dict[str, Tensor]
FOOT_WEIGHT = 20.0
GLOBAL_WEIGHT = 5.0


@dataclass(frozen=True, kw_only=True)
class PartLoss:
    """What the terms of one auto-encoder need beside prediction and batch."""

    part: AutoEncoder
    body: Body
    vertices: Tensor
    """Vertices of the mesh terms."""
    mesh_weight: float
    rules: FidelityRules
    mesh_frames: int = 0
    """Frames of a window that the mesh terms look at, a stretch drawn anew each time; 0 takes
    all.
    """

    @classmethod
    def of(
        cls,
        part: AutoEncoder,
        body: Body,
        *,
        mesh_vertices: int,
        mesh_weight: float,
        rules: FidelityRules,
        mesh_frames: int = 0,
    ) -> "PartLoss":
        """Choose the vertices: spread over the body, for the face over what jaw and expressions
        move.

        Raises:
            InputError: `mesh_frames` is too few for an acceleration.

        """
        if mesh_frames in (1, 2):
            raise InputError(
                "body.mesh_frames",
                f"expected at least 3, or 0 for all, found {mesh_frames}",
                "an acceleration takes 3 frames; correct the value",
            )
        among = body.moved_by_face() if part == "face" else None
        return cls(
            part=part,
            body=body,
            vertices=body.subset(mesh_vertices, among),
            mesh_weight=mesh_weight,
            rules=rules,
            mesh_frames=mesh_frames,
        )

    def __call__(self, prediction: Tensor, batch: WindowBatch) -> Terms:
        """Weighted terms of a prediction (B, T, D)."""
        return _TERMS[self.part](self, prediction, batch)

    def stretch(self, length: int) -> slice:
        """Frames that the mesh terms look at this time, of `length`."""
        if not 0 < self.mesh_frames < length:
            return slice(length)
        start = int(torch.randint(length - self.mesh_frames + 1, ()))
        return slice(start, start + self.mesh_frames)

    @property
    def code_part(self) -> Part:
        """The part, which has codes; the global-motion net has no rotations of its own."""
        assert self.part != "global"
        return self.part

    @property
    def mesh_axis(self) -> int:
        """Axis of a mesh's "velocity"."""
        return TIME if self.rules.mesh_velocity_along_time else VERTEX


def _body_terms(loss: PartLoss, prediction: Tensor, batch: WindowBatch) -> Terms:
    """Upper body and hands."""
    predicted, target = matrices(prediction), target_matrices(loss.code_part, batch)
    terms = {
        "geodesic": geodesic(predicted, target),
        "differences": l1_of_differences(predicted, target),
    }
    if loss.mesh_weight:
        rest, frames = (
            loss.body.shape(batch.betas, subset=loss.vertices),
            loss.stretch(predicted.shape[1]),
        )
        ours, theirs = (
            _mesh(loss, rotations[:, frames], *rest) for rotations in (predicted, target)
        )
        terms["vertices"] = loss.mesh_weight * functional.mse_loss(ours, theirs)
        terms["mesh_differences"] = loss.mesh_weight * l1_of_differences(
            ours, theirs, axis=loss.mesh_axis
        )
    return terms


def _face_terms(loss: PartLoss, prediction: Tensor, batch: WindowBatch) -> Terms:
    predicted, target = matrices(prediction[..., :6]), target_matrices("face", batch)
    expressions = prediction[..., 6:]
    terms = {
        "geodesic": geodesic(predicted, target),
        "differences": mse_of_differences(predicted, target),
        "expressions": functional.mse_loss(expressions, batch.expressions),
        "expression_differences": mse_of_differences(expressions, batch.expressions),
    }
    if loss.mesh_weight:
        first, second = expressions, batch.expressions
        if not loss.rules.matching_face_expressions:
            first, second = second, first
        frames = loss.stretch(predicted.shape[1])
        ours = _face_mesh(loss, predicted[:, frames], first[:, frames], batch)
        theirs = _face_mesh(loss, target[:, frames], second[:, frames], batch)
        terms["vertices"] = loss.mesh_weight * functional.mse_loss(ours, theirs)
        terms["mesh_differences"] = loss.mesh_weight * mse_of_differences(
            ours, theirs, axis=loss.mesh_axis
        )
    return terms


def _lower_terms(loss: PartLoss, prediction: Tensor, batch: WindowBatch) -> Terms:
    predicted, target = matrices(prediction[..., LEGS]), target_matrices("lower", batch)
    contact = prediction[..., PART_CONTACT]
    ours, theirs = _joints(loss, predicted, batch), _joints(loss, target, batch)
    terms = {
        "geodesic": geodesic(predicted, target),
        "contact": functional.mse_loss(contact, batch.motion[..., CONTACT]),
        "differences": l1_of_differences(predicted, target),
        "joints": functional.mse_loss(ours, theirs),
        "foot": FOOT_WEIGHT * foot_sliding(ours[:, :, FOOT_JOINTS], contact),
    }
    if loss.rules.ground_velocity:
        # Beside the pelvis a planted foot moves; only with the translation added does it stand
        # still.
        trans = integrate_ground(prediction[..., PART_TRANSLATION], batch.motion[:, 0, TRANSLATION])
        feet = ours[:, :, FOOT_JOINTS] + trans.unsqueeze(2)
        terms["foot"] = FOOT_WEIGHT * foot_sliding(feet, contact)
        ground = ground_velocity(batch.motion[..., TRANSLATION])
        terms["translation"] = functional.l1_loss(prediction[..., PART_TRANSLATION], ground)
    return terms


def _global_terms(loss: PartLoss, prediction: Tensor, batch: WindowBatch) -> Terms:
    trans, contact = batch.motion[..., TRANSLATION], prediction[..., PART_CONTACT]
    ground, target = prediction[..., PART_TRANSLATION], ground_velocity(trans)
    place = integrate_ground(ground, trans[:, 0])
    # Published velocity is a term for x plus one for z, and so are its differences: as many times
    # the mean over both.
    axes = [0, 2]
    ground_pair = ground[..., axes], target[..., axes]
    error = place - trans
    feet = _joints(loss, target_matrices("lower", batch), batch)[
        :, :, FOOT_JOINTS
    ] + place.unsqueeze(2)
    terms = {
        "contact": functional.mse_loss(contact, batch.motion[..., CONTACT]),
        "velocity": len(axes) * functional.l1_loss(*ground_pair),
        "velocity_differences": GLOBAL_WEIGHT * len(axes) * l1_of_differences(*ground_pair),
        "position": functional.l1_loss(place, trans),
        "position_differences": GLOBAL_WEIGHT * l1_of_differences(place, trans),
        # Both meshes have the true legs, so that all vertices differ by the translation's error
        # alone.
        "vertices": loss.mesh_weight * error.square().mean(),
        "foot": FOOT_WEIGHT * foot_sliding(feet, contact),
    }
    # Along the vertex index, as published, these two are 0 whatever the error.
    if loss.rules.mesh_velocity_along_time:
        terms["mesh_differences"] = (
            GLOBAL_WEIGHT
            * loss.mesh_weight
            * total(difference(error, order=order).square().mean() for order in (1, 2))
        )
    return terms


_TERMS: Mapping[AutoEncoder, Callable[[PartLoss, Tensor, WindowBatch], Terms]] = {
    "face": _face_terms,
    "upper": _body_terms,
    "hands": _body_terms,
    "lower": _lower_terms,
    "global": _global_terms,
}


def matrices(rotations: Tensor) -> Tensor:
    """Rotation matrices (B, T, J, 3, 3) of 6D channels (B, T, 6 J)."""
    return matrix_from_6d(rotations.unflatten(-1, (-1, 6)))


def target_matrices(part: Part, batch: WindowBatch) -> Tensor:
    """A part's true rotation matrices (B, T, J, 3, 3)."""
    return matrices(batch.motion[..., pose_channels(part)])


def whole_body(part: Part, rotations: Tensor) -> Tensor:
    """All joints (B * T, 55, 3, 3) from a part's (B, T, J, 3, 3); the others do not turn."""
    frames = rotations.flatten(0, 1)
    whole = torch.eye(3, dtype=frames.dtype, device=frames.device).repeat(
        len(frames), JOINT_COUNT, 1, 1
    )
    index = torch.tensor(PART_JOINTS[part], device=frames.device)
    return whole.index_copy(1, index, frames)


def _mesh(loss: PartLoss, rotations: Tensor, rest_vertices: Tensor, rest_joints: Tensor) -> Tensor:
    """Vertices (B, T, V, 3) of a body whose rest is given once per window (B, ...) or per frame (B
    * T, ...).
    """
    windows, length = rotations.shape[:2]
    repeat = windows * length // len(rest_vertices)
    return loss.body.skin(
        whole_body(loss.code_part, rotations),
        rest_vertices.repeat_interleave(repeat, 0),
        rest_joints.repeat_interleave(repeat, 0),
        subset=loss.vertices,
    ).unflatten(0, (windows, length))


def _face_mesh(loss: PartLoss, jaw: Tensor, expressions: Tensor, batch: WindowBatch) -> Tensor:
    betas = batch.betas.repeat_interleave(expressions.shape[1], 0)
    return _mesh(
        loss, jaw, *loss.body.shape(betas, expressions.flatten(0, 1), subset=loss.vertices)
    )


def _joints(loss: PartLoss, rotations: Tensor, batch: WindowBatch) -> Tensor:
    """Joints (B, T, 55, 3) of the legs, no translation."""
    windows, length = rotations.shape[:2]
    rest = loss.body.rest_joints(batch.betas).repeat_interleave(length, 0)
    return loss.body.joints(whole_body("lower", rotations), rest).unflatten(0, (windows, length))
