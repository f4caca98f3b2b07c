"""The SMPL-X body model: joints by the kinematic chain, and vertices of all or part of the mesh.

The package `smplx` reads the file and computes the blend shapes. This module adds a faster chain,
skinning of selected vertices (a full mesh of a batch takes seconds, 400 vertices milliseconds), and
a check of the file, because smplx would load pickled objects.
"""

import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from smplx.lbs import blend_shapes
from torch import Tensor, nn

from mambatalk.errors import InputError
from mambatalk.motion.indices import select
from mambatalk.motion.kinematics import pose_chain
from mambatalk.motion.skeleton import BETAS_DIM, EXPRESSION_DIM, PARENTS, PART_JOINTS

JAW = PART_JOINTS["face"][0]
STAND_IN_KEY = "mambatalk_stand_in"
REQUIRED_KEYS = (
    "v_template",
    "f",
    "shapedirs",
    "posedirs",
    "J_regressor",
    "kintree_table",
    "weights",
)

Blend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A function like `blend_vertices`."""


class Body(nn.Module):
    """SMPL-X with 300 betas, 100 expressions and axis-angle hands (no PCA, flat mean).

    Args:
        arrays: The buffers below by name, as `load_body` makes them; lengths in metres.
        kind: Whether the arrays are those of SMPL-X or of the stand-in.

    """

    v_template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    joint_template: Tensor
    joint_shapedirs: Tensor
    weights: Tensor
    faces: Tensor

    def __init__(self, arrays: Mapping[str, Tensor], *, kind: Literal["stand-in", "smplx"]) -> None:
        super().__init__()
        self.kind = kind
        for name, array in arrays.items():
            self.register_buffer(name, array, persistent=False)
        # The stand-in has no pose blend shapes; a product with zeros would be most of its cost.
        self.has_pose_shapes = bool(arrays["posedirs"].any())

    @property
    def vertex_count(self) -> int:
        """Number of vertices of the whole mesh: 10,475 in SMPL-X."""
        return len(self.v_template)

    def rest_joints(self, betas: Tensor) -> Tensor:
        """Return the joints (..., 55, 3) in metres of the rest pose, from betas (..., 300)."""
        directions = self.joint_shapedirs[..., :BETAS_DIM]
        return self.joint_template + torch.einsum("...s,jcs->...jc", betas, directions)

    def joints(self, rotations: Tensor, rest: Tensor, trans: Tensor | None = None) -> Tensor:
        """Return posed joints (N, 55, 3) in metres.

        Args:
            rotations: Local rotation matrices (N, 55, 3, 3).
            rest: Rest joints (55, 3) or (N, 55, 3).
            trans: Translation (N, 3) in metres. If None, zero.

        """
        _, posed = pose_chain(rotations, rest.expand(len(rotations), -1, -1))
        return posed if trans is None else posed + trans.unsqueeze(1)

    def vertices(
        self,
        rotations: Tensor,
        betas: Tensor,
        expressions: Tensor,
        *,
        trans: Tensor | None = None,
        subset: Tensor | None = None,
    ) -> Tensor:
        """Return posed vertices (N, V, 3) in metres.

        Args:
            rotations: Local rotation matrices (N, 55, 3, 3).
            betas: Shape (N, 300).
            expressions: Expression coefficients (N, 100).
            trans: Translation (N, 3) in metres. If None, zero.
            subset: Vertex indices (V,). If None, all vertices.

        """
        rest_vertices, rest_joints = self.shape(betas, expressions, subset=subset)
        return self.skin(rotations, rest_vertices, rest_joints, trans=trans, subset=subset)

    def shape(
        self, betas: Tensor, expressions: Tensor | None = None, *, subset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the rest pose: vertices (N, V, 3) and joints (N, 55, 3) in metres.

        Args:
            betas: Shape (N, 300).
            expressions: Expression coefficients (N, 100). If None, zero.
            subset: Vertex indices (V,). If None, all vertices.

        """
        selected = slice(None) if subset is None else subset
        shape = betas if expressions is None else torch.cat([betas, expressions], dim=-1)
        count = shape.shape[-1]
        return (
            self.v_template[selected] + blend_shapes(shape, self.shapedirs[selected][..., :count]),
            self.joint_template + blend_shapes(shape, self.joint_shapedirs[..., :count]),
        )

    def skin(
        self,
        rotations: Tensor,
        rest_vertices: Tensor,
        rest_joints: Tensor,
        *,
        trans: Tensor | None = None,
        subset: Tensor | None = None,
        bent: tuple[int, ...] | None = None,
        blend: Blend | None = None,
    ) -> Tensor:
        """Pose the rest pose that `shape` returned.

        Args:
            rotations: Local rotation matrices (N, 55, 3, 3).
            rest_vertices: Rest vertices (N, V, 3) in metres.
            rest_joints: Rest joints (N, 55, 3) in metres.
            trans: Translation (N, 3) in metres. If None, zero.
            subset: Vertex indices (V,) that `shape` was called with.
            bent: The only joints that may differ from the rest pose, the pelvis aside: the pose
                blend shapes of all others are left out. If None, all joints may.
            blend: Replacement for `blend_vertices`, such as a compiled form of it. If None,
                `blend_vertices` itself.

        Returns:
            Posed vertices (N, V, 3) in metres.

        """
        selected = slice(None) if subset is None else subset
        if self.has_pose_shapes:
            identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            bend = rotations[:, 1:] - identity
            directions = self.posedirs[:, selected].flatten(1)
            if bent is not None:
                # The pelvis has no pose blend shape.
                joints = tuple(joint - 1 for joint in bent if joint)
                bend = select(bend, 1, joints)
                directions = select(directions.unflatten(0, (-1, 9)), 0, joints).flatten(0, 1)
            bend = bend.flatten(1)
            correction = bend @ directions
            rest_vertices = rest_vertices + correction.view(len(bend), -1, 3)
        turned, placed = pose_chain(rotations, rest_joints)
        moved = placed - (turned * rest_joints.unsqueeze(-2)).sum(-1)
        transforms = torch.cat([turned, moved.unsqueeze(-1)], dim=-1)
        posed = (blend or blend_vertices)(self.weights[selected], transforms, rest_vertices)
        return posed if trans is None else posed + trans.unsqueeze(1)

    def subset(self, count: int, among: Tensor | None = None) -> Tensor:
        """Select vertices that are spread over the mesh, by farthest-point sampling.

        Args:
            count: Number of vertices. 0 selects all 10,475.
            among: Mask (V,) of the vertices to select from. If None, all.

        Returns:
            Vertex indices (count,), ascending.

        """
        indices = torch.arange(self.vertex_count, device=self.v_template.device)
        if count == 0:
            return indices
        candidates = indices if among is None else indices[among]
        points = self.v_template[candidates]
        distance = torch.full((len(points),), torch.inf, device=points.device)
        chosen = [int(points[:, 1].argmax())]
        while len(chosen) < min(count, len(points)):
            distance = torch.minimum(distance, (points - points[chosen[-1]]).norm(dim=-1))
            chosen.append(int(distance.argmax()))
        return candidates[sorted(chosen)]

    def moved_by_face(self) -> Tensor:
        """Return a mask (V,) of the vertices that jaw or expressions move.

        They move by skinning, by an expression's blend shape or by a pose blend shape of the jaw.
        """
        by_expression = self.shapedirs[..., BETAS_DIM:].abs().amax((1, 2)) > 1e-6
        by_pose_shape = self.posedirs[9 * (JAW - 1) : 9 * JAW].abs().amax((0, 2)) > 1e-6
        return (self.weights[:, JAW] > 0) | by_expression | by_pose_shape


def blend_vertices(weights: Tensor, transforms: Tensor, vertices: Tensor) -> Tensor:
    """Move vertices with the joints (linear blend skinning).

    Args:
        weights: Weight (V, 55) of each joint for each vertex.
        transforms: Rotation and translation (N, 55, 3, 4) of the joints from the rest pose.
        vertices: Vertices of the rest pose (N, V, 3) in metres.

    Returns:
        Posed vertices (N, V, 3) in metres.

    """
    blended = torch.tensordot(weights, transforms, dims=([1], [1])).transpose(0, 1)
    return (blended[..., :3] * vertices.unsqueeze(-2)).sum(-1) + blended[..., 3]


def load_body(path: str | Path) -> Body:
    """Read an SMPL-X npz with 300 shape and 100 expression components.

    Raises:
        InputError: The file is missing, cannot be read without pickles, or is not an SMPL-X model
            of that size.

    """
    import smplx

    arrays = _read_arrays(Path(path))
    # smplx loads pickled objects of the file that it opens, so it gets a copy of the plain arrays.
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder) / "SMPLX_NEUTRAL.npz"
        np.savez(clean, allow_pickle=False, **arrays)
        model = smplx.SMPLX(
            str(clean),
            use_pca=False,
            flat_hand_mean=True,
            num_betas=BETAS_DIM,
            num_expression_coeffs=EXPRESSION_DIM,
            ext="npz",
        )
    if model.parents.tolist() != list(PARENTS):
        raise InputError(
            path,
            "expected SMPL-X's 55 joints, found another kinematic tree",
            "use the file SMPLX_NEUTRAL_2020.npz",
        )
    directions = torch.cat([model.shapedirs, model.expr_dirs], dim=-1)
    return Body(
        {
            "v_template": model.v_template,
            "shapedirs": directions,
            "posedirs": model.posedirs.view(len(model.posedirs), -1, 3),
            "joint_template": model.J_regressor @ model.v_template,
            "joint_shapedirs": torch.einsum("jv,vcs->jcs", model.J_regressor, directions),
            "weights": model.lbs_weights,
            "faces": torch.from_numpy(model.faces.astype(np.int64)),
        },
        kind="stand-in" if STAND_IN_KEY in arrays else "smplx",
    )


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise InputError(
            path,
            "expected the SMPL-X model SMPLX_NEUTRAL_2020.npz, found no such file",
            "register at https://smpl-x.is.tue.mpg.de, download the model (it is licensed and not"
            " part of this project) and put it there, or set body.path of params.yaml to its place;"
            " the sample profile writes a stand-in",
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            loaded = {key: _plain(archive, key) for key in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            path,
            f"expected an npz of plain arrays, found a file that cannot be read safely ({error})",
            "download the npz form of SMPL-X again; pickled models are not loaded",
        ) from None
    arrays = {key: array for key, array in loaded.items() if array is not None}
    missing = [key for key in REQUIRED_KEYS if key not in arrays]
    if missing or arrays["shapedirs"].shape[-1] < BETAS_DIM + EXPRESSION_DIM:
        components = "" if missing else f"{arrays['shapedirs'].shape[-1]} components"
        found = f"no {', '.join(missing)}" if missing else components
        raise InputError(
            path,
            f"expected SMPL-X with 300 shape and 100 expression components, found {found}",
            "use the file SMPLX_NEUTRAL_2020.npz",
        )
    return arrays


def _plain(archive: Any, key: str) -> NDArray[Any] | None:
    """Read an array; None for pickled objects.

    The licensed file holds two dictionaries that are not needed here.
    """
    try:
        return archive[key]
    except ValueError as error:
        if "Object arrays" in str(error):
            return None
        raise
