"""Loss terms of the five auto-encoders, published and corrected.

Both forms share their reconstruction terms. They differ in three places:

- mesh differences: the published slices run along the vertex index, the corrected ones along time;
- the face mesh: published training exchanges the expressions of the two meshes, so that errors of
  jaw and expressions can cancel;
- the translation of the lower body: only corrected training supervises it.

Source: published trainers `ae`, `aeface`, `aelowerfoot`, `aelower`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from mambatalk.config import VQCommonConfig
from mambatalk.errors import InputError
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import FidelityRules
from mambatalk.motion.body import Body, blend_vertices
from mambatalk.motion.indices import constant_index, select
from mambatalk.motion.parts import (
    LEGS,
    PART_CONTACT,
    PART_TRANSLATION,
    ground_velocity,
    integrate_ground,
    select_pose,
)
from mambatalk.motion.rotations import matrix_from_6d
from mambatalk.motion.skeleton import (
    CONTACT,
    FOOT_JOINTS,
    JOINT_COUNT,
    PART_JOINTS,
    TRANSLATION,
    AutoEncoderName,
    Part,
)
from mambatalk.training.loop.module import LossTerms, total
from mambatalk.training.losses import (
    TIME,
    VERTEX,
    difference,
    foot_sliding,
    geodesic,
    l1_of_differences,
    mse_of_differences,
)

MESH_PARTS: Final = ("face", "upper", "hands")
"""Parts whose loss has terms of the mesh. That of the global-motion net needs no vertices."""


@dataclass(frozen=True, kw_only=True)
class PartLoss:
    """The weighted loss terms of one auto-encoder."""

    part: AutoEncoderName
    body: Body
    vertices: Tensor
    """Indices of the vertices in the mesh terms."""
    mesh_frames: int
    """Consecutive frames of a window in the mesh terms, drawn for every batch; 0 uses all."""
    mesh_weight: float
    foot_weight: float
    difference_weight: float
    """Weight of the velocity and acceleration terms of the global-motion net."""
    rules: FidelityRules

    @classmethod
    def build(
        cls,
        part: AutoEncoderName,
        body: Body,
        *,
        config: VQCommonConfig,
        mesh_vertices: int,
        mesh_frames: int,
        rules: FidelityRules,
    ) -> "PartLoss":
        """Choose the vertices of the mesh terms and take the weights from the configuration.

        The vertices are spread over the body; for the face, over what jaw and expressions move.

        Args:
            part: The auto-encoder.
            body: Body model, on the device of the training.
            config: Weights of the terms.
            mesh_vertices: Vertices of the mesh terms; 0 uses all.
            mesh_frames: Consecutive frames of a window in the mesh terms; 0 uses all.
            rules: Published or corrected terms.

        Raises:
            InputError: `mesh_frames` is too small for an acceleration.

        """
        if mesh_frames in (1, 2):
            raise InputError(
                "body.mesh_frames",
                f"expected at least 3, or 0 for all, found {mesh_frames}",
                "an acceleration needs 3 frames; correct the value",
            )
        candidates = body.moved_by_face() if part == "face" else None
        return cls(
            part=part,
            body=body,
            vertices=body.subset(mesh_vertices, candidates),
            mesh_frames=mesh_frames,
            mesh_weight=config.mesh_weight,
            foot_weight=config.foot_weight,
            difference_weight=config.difference_weight,
            rules=rules,
        )

    def __call__(self, prediction: Tensor, batch: WindowBatch) -> LossTerms:
        """Return the weighted terms of a prediction (B, T, D) for the part of a batch."""
        frames = None
        if self.part in MESH_PARTS and self.mesh_weight:
            frames = self.sample_frames(prediction.shape[1], prediction.device)
        return _TERMS[self.part](self, prediction, batch, frames)

    def sample_frames(self, length: int, device: torch.device) -> Tensor | None:
        """Draw the consecutive frames (n,) of the mesh terms from a window of `length` frames.

        They are drawn on the device, so that every replay of a recorded step draws anew.

        Returns:
            Indices (n,) of the frames. None for all frames.

        """
        if not 0 < self.mesh_frames < length:
            return None
        start = torch.randint(length - self.mesh_frames + 1, (), device=device)
        return start + torch.arange(self.mesh_frames, device=device)

    @property
    def body_part(self) -> Part:
        """The body part. The global-motion net has no rotations of its own, and no body part."""
        assert self.part != "global"
        return self.part

    @property
    def mesh_axis(self) -> int:
        """Axis along which mesh differences are taken."""
        return TIME if self.rules.mesh_velocity_along_time else VERTEX


def _body_terms(
    loss: PartLoss, prediction: Tensor, batch: WindowBatch, frames: Tensor | None
) -> LossTerms:
    """Return the terms of upper body or hands."""
    predicted = matrices(prediction)
    target = target_matrices(loss.body_part, batch)
    terms = {
        "geodesic": geodesic(predicted, target),
        "differences": l1_of_differences(predicted, target),
    }
    if loss.mesh_weight:
        rest_vertices, rest_joints = loss.body.shape(batch.betas, subset=loss.vertices)
        predicted_mesh = _mesh(loss, _chosen(predicted, frames), rest_vertices, rest_joints)
        target_mesh = _mesh(loss, _chosen(target, frames), rest_vertices, rest_joints)
        terms |= _mesh_terms(loss, predicted_mesh, target_mesh, l1_of_differences)
    return terms


def _face_terms(
    loss: PartLoss, prediction: Tensor, batch: WindowBatch, frames: Tensor | None
) -> LossTerms:
    predicted = matrices(prediction[..., :6])
    target = target_matrices("face", batch)
    expressions = prediction[..., 6:]
    terms = {
        "geodesic": geodesic(predicted, target),
        "differences": mse_of_differences(predicted, target),
        "expressions": functional.mse_loss(expressions, batch.expressions),
        "expression_differences": mse_of_differences(expressions, batch.expressions),
    }
    if loss.mesh_weight:
        predicted_face, target_face = expressions, batch.expressions
        if not loss.rules.matching_face_expressions:
            predicted_face, target_face = target_face, predicted_face
        predicted_mesh = _face_mesh(
            loss, _chosen(predicted, frames), _chosen(predicted_face, frames), batch
        )
        target_mesh = _face_mesh(loss, _chosen(target, frames), _chosen(target_face, frames), batch)
        terms |= _mesh_terms(loss, predicted_mesh, target_mesh, mse_of_differences)
    return terms


def _lower_terms(loss: PartLoss, prediction: Tensor, batch: WindowBatch, frames: None) -> LossTerms:
    predicted = matrices(prediction[..., LEGS])
    target = target_matrices("lower", batch)
    contact = prediction[..., PART_CONTACT]
    predicted_joints = _joints(loss, predicted, batch)
    target_joints = _joints(loss, target, batch)
    predicted_feet = select(predicted_joints, 2, FOOT_JOINTS)
    terms = {
        "geodesic": geodesic(predicted, target),
        "contact": functional.mse_loss(contact, batch.motion[..., CONTACT]),
        "differences": l1_of_differences(predicted, target),
        "joints": functional.mse_loss(predicted_joints, target_joints),
        "foot": loss.foot_weight * foot_sliding(predicted_feet, contact),
    }
    if loss.rules.ground_velocity:
        # Relative to the pelvis a planted foot moves; it stands still only once the translation is
        # added.
        start = batch.motion[:, 0, TRANSLATION]
        translation = integrate_ground(prediction[..., PART_TRANSLATION], start)
        feet = predicted_feet + translation.unsqueeze(2)
        terms["foot"] = loss.foot_weight * foot_sliding(feet, contact)
        ground = ground_velocity(batch.motion[..., TRANSLATION])
        terms["translation"] = functional.l1_loss(prediction[..., PART_TRANSLATION], ground)
    return terms


def _global_terms(
    loss: PartLoss, prediction: Tensor, batch: WindowBatch, frames: None
) -> LossTerms:
    target = batch.motion[..., TRANSLATION]
    contact = prediction[..., PART_CONTACT]
    ground = prediction[..., PART_TRANSLATION]
    position = integrate_ground(ground, target[:, 0])
    error = position - target

    # The published loss has one velocity term for x and one for z, and two of their differences:
    # that is twice the mean over both axes.
    velocity = ground[..., ::2]
    target_velocity = ground_velocity(target)[..., ::2]
    difference_weight = 2 * loss.difference_weight

    legs = _joints(loss, target_matrices("lower", batch), batch)
    feet = select(legs, 2, FOOT_JOINTS) + position.unsqueeze(2)
    terms = {
        "contact": functional.mse_loss(contact, batch.motion[..., CONTACT]),
        "velocity": 2 * functional.l1_loss(velocity, target_velocity),
        "velocity_differences": difference_weight * l1_of_differences(velocity, target_velocity),
        "position": functional.l1_loss(position, target),
        "position_differences": loss.difference_weight * l1_of_differences(position, target),
        # Both meshes have the true legs, so all vertices differ by the error of the translation.
        "vertices": loss.mesh_weight * error.square().mean(),
        "foot": loss.foot_weight * foot_sliding(feet, contact),
    }
    if loss.rules.mesh_velocity_along_time:
        # Along the vertex index, as published, this term is 0 for any error.
        mesh_differences = total(difference(error, order=order).square().mean() for order in (1, 2))
        terms["mesh_differences"] = loss.difference_weight * loss.mesh_weight * mesh_differences
    return terms


Function = TypeVar("Function", bound=Callable[..., Tensor])
_Terms = Callable[[PartLoss, Tensor, WindowBatch, Any], LossTerms]
_TERMS: Mapping[AutoEncoderName, _Terms] = {
    "face": _face_terms,
    "upper": _body_terms,
    "hands": _body_terms,
    "lower": _lower_terms,
    "global": _global_terms,
}


def _for_device(function: Function, device: torch.device) -> Function:
    """Return a function on meshes, compiled for a GPU.

    The meshes of a full-size batch have half a gigabyte. Compiled, many passes over them become a
    few.
    """
    return _compiled(function) if device.type == "cuda" else function


@cache
def _compiled(function: Function) -> Function:
    # With `fullgraph`, code that cannot be compiled is an error instead of slow.
    return cast(Function, torch.compile(function, fullgraph=True, dynamic=False))


def matrices(rotations: Tensor) -> Tensor:
    """Convert 6D channels (B, T, 6 J) to rotation matrices (B, T, J, 3, 3)."""
    return matrix_from_6d(rotations.unflatten(-1, (-1, 6)))


def target_matrices(part: Part, batch: WindowBatch) -> Tensor:
    """Return the true rotation matrices (B, T, J, 3, 3) of a part."""
    return matrices(select_pose(batch.motion, part))


def whole_body(part: Part, rotations: Tensor) -> Tensor:
    """Place a part's rotations (B, T, J, 3, 3) among all joints (B * T, 55, 3, 3) at rest."""
    frames = rotations.flatten(0, 1)
    identity = torch.eye(3, dtype=frames.dtype, device=frames.device)
    index = constant_index(PART_JOINTS[part], frames.device)
    return identity.repeat(len(frames), JOINT_COUNT, 1, 1).index_copy(1, index, frames)


def _chosen(x: Tensor, frames: Tensor | None) -> Tensor:
    """Return the given frames (n,) of `x` (B, T, ...), or all of them."""
    return x if frames is None else x.index_select(1, frames)


def _mesh_terms(
    loss: PartLoss, predicted: Tensor, target: Tensor, differences: Callable[..., Tensor]
) -> LossTerms:
    """Return the weighted terms of vertices (B, T, V, 3), with an error of their differences."""
    error = _for_device(functional.mse_loss, predicted.device)
    error_of_differences = _for_device(differences, predicted.device)
    return {
        "vertices": loss.mesh_weight * error(predicted, target),
        "mesh_differences": loss.mesh_weight
        * error_of_differences(predicted, target, axis=loss.mesh_axis),
    }


def _mesh(loss: PartLoss, rotations: Tensor, rest_vertices: Tensor, rest_joints: Tensor) -> Tensor:
    """Pose the chosen vertices: (B, T, V, 3).

    The rest shape is given once per window (B, ...) or once per frame (B * T, ...).
    """
    windows, length = rotations.shape[:2]
    repeat = windows * length // len(rest_vertices)
    vertices = loss.body.skin(
        whole_body(loss.body_part, rotations),
        rest_vertices.repeat_interleave(repeat, 0),
        rest_joints.repeat_interleave(repeat, 0),
        subset=loss.vertices,
        bent=PART_JOINTS[loss.body_part],
        blend=_for_device(blend_vertices, rotations.device),
    )
    return vertices.unflatten(0, (windows, length))


def _face_mesh(loss: PartLoss, jaw: Tensor, expressions: Tensor, batch: WindowBatch) -> Tensor:
    """Pose the chosen vertices with jaw (B, T, 1, 3, 3) and expressions (B, T, 100)."""
    betas = batch.betas.repeat_interleave(expressions.shape[1], 0)
    rest = loss.body.shape(betas, expressions.flatten(0, 1), subset=loss.vertices)
    return _mesh(loss, jaw, *rest)


def _joints(loss: PartLoss, rotations: Tensor, batch: WindowBatch) -> Tensor:
    """Return the joints (B, T, 55, 3) of the posed legs, without translation."""
    windows, length = rotations.shape[:2]
    rest = loss.body.rest_joints(batch.betas).repeat_interleave(length, 0)
    return loss.body.joints(whole_body("lower", rotations), rest).unflatten(0, (windows, length))
