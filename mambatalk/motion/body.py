"""The SMPL-X body model: joints by the kinematic chain alone, vertices for a chosen few or for all.

`smplx` loads the file and owns the blend shapes; what is added is a faster chain, that vertices are
chosen before they are skinned (a full mesh of a batch costs seconds, 400 vertices cost
milliseconds), and that the file is checked first, since smplx itself would unpickle it.
"""

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from smplx.lbs import blend_shapes
from torch import Tensor, nn

from mambatalk.errors import InputError
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


class Body(nn.Module):
    """SMPL-X with 300 betas, 100 expressions and axis-angle hands (no PCA, flat mean)."""

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
        self.bends = bool(arrays["posedirs"].any())

    @property
    def vertex_count(self) -> int:
        """Vertices of the whole mesh: 10,475 in SMPL-X."""
        return len(self.v_template)

    def rest_joints(self, betas: Tensor) -> Tensor:
        """Joints (..., 55, 3) in metres of the rest pose with zero expression, from betas (...,
        300).
        """
        return self.joint_template + torch.einsum(
            "...s,jcs->...jc", betas, self.joint_shapedirs[..., :BETAS_DIM]
        )

    def joints(self, rotations: Tensor, rest: Tensor, trans: Tensor | None = None) -> Tensor:
        """Posed joints (N, 55, 3) in metres.

        Args:
            rotations: Local rotation matrices (N, 55, 3, 3).
            rest: Rest joints (55, 3) or (N, 55, 3).
            trans: Translation (N, 3) in metres, or none for zero.

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
        """Posed vertices (N, V, 3) in metres.

        Args:
            rotations: Local rotation matrices (N, 55, 3, 3).
            betas: Shape (N, 300).
            expressions: Face shape (N, 100).
            trans: Translation (N, 3) in metres, or none for zero.
            subset: Vertex indices (V,), or none for all.

        """
        return self.skin(
            rotations, *self.shape(betas, expressions, subset=subset), trans=trans, subset=subset
        )

    def shape(
        self, betas: Tensor, expressions: Tensor | None = None, *, subset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Rest vertices (N, V, 3) and rest joints (N, 55, 3) from betas (N, 300) and expressions
        (N, 100) or none.
        """
        pick = slice(None) if subset is None else subset
        shape = betas if expressions is None else torch.cat([betas, expressions], dim=-1)
        count = shape.shape[-1]
        return (
            self.v_template[pick] + blend_shapes(shape, self.shapedirs[pick][..., :count]),
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
    ) -> Tensor:
        """Pose what `shape` gave (with the same subset): vertices (N, V, 3)."""
        pick = slice(None) if subset is None else subset
        if self.bends:
            bend = (
                rotations[:, 1:] - torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            ).flatten(1)
            rest_vertices = rest_vertices + (bend @ self.posedirs[:, pick].flatten(1)).view(
                len(bend), -1, 3
            )
        turned, placed = pose_chain(rotations, rest_joints)
        moved = placed - (turned * rest_joints.unsqueeze(-2)).sum(-1)
        transforms = torch.cat([turned, moved.unsqueeze(-1)], dim=-1)
        blended = torch.tensordot(self.weights[pick], transforms, dims=([1], [1])).transpose(0, 1)
        posed = (blended[..., :3] * rest_vertices.unsqueeze(-2)).sum(-1) + blended[..., 3]
        return posed if trans is None else posed + trans.unsqueeze(1)

    def subset(self, count: int, among: Tensor | None = None) -> Tensor:
        """Indices (count,) of vertices spread by farthest-point sampling; 0 takes all 10,475.

        `among` (V,) narrows the choice to where it is True.
        """
        if count == 0:
            return torch.arange(self.vertex_count, device=self.v_template.device)
        choice = torch.arange(self.vertex_count, device=self.v_template.device)
        choice = choice if among is None else choice[among]
        points = self.v_template[choice]
        distance = torch.full((len(points),), torch.inf, device=points.device)
        chosen = [int(points[:, 1].argmax())]
        while len(chosen) < min(count, len(points)):
            distance = torch.minimum(distance, (points - points[chosen[-1]]).norm(dim=-1))
            chosen.append(int(distance.argmax()))
        return choice[sorted(chosen)]

    def moved_by_face(self) -> Tensor:
        """Which vertices (V,) jaw or expressions move, by skinning, by a blend shape or by
        bending.
        """
        by_expression = self.shapedirs[..., BETAS_DIM:].abs().amax((1, 2)) > 1e-6
        by_bending = self.posedirs[9 * (JAW - 1) : 9 * JAW].abs().amax((0, 2)) > 1e-6
        return (self.weights[:, JAW] > 0) | by_expression | by_bending


def load_body(path: str | Path) -> Body:
    """Read a SMPL-X npz with 300 shape and 100 expression components.

    Raises:
        InputError: The file is missing, holds pickled objects, or is no SMPL-X model of that size.

    """
    import smplx

    arrays = _read_arrays(Path(path))
    # smplx unpickles whatever stands in the file it opens, so it is given a copy of the plain
    # arrays alone.
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
            "take the file SMPLX_NEUTRAL_2020.npz",
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
            "register at https://smpl-x.is.tue.mpg.de, download it (it is licensed and never shipped) and put it there, or point body.path of params.yaml at it; the sample profile makes a stand-in",
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {
                key: array for key in archive.files if (array := _plain(archive, key)) is not None
            }
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            path,
            f"expected an npz of plain arrays, found a file that cannot be read safely ({error})",
            "download the npz form of SMPL-X again; pickled models are never loaded",
        ) from None
    missing = [key for key in REQUIRED_KEYS if key not in arrays]
    if missing or arrays["shapedirs"].shape[-1] < BETAS_DIM + EXPRESSION_DIM:
        found = f"no {', '.join(missing)}" if missing else f"{arrays['shapedirs'].shape[-1]} shapes"
        raise InputError(
            path,
            f"expected SMPL-X with 300 shape and 100 expression components, found {found}",
            "take the file SMPLX_NEUTRAL_2020.npz",
        )
    return arrays


def _plain(archive: Any, key: str) -> NDArray[Any] | None:
    try:
        return archive[key]
    except ValueError as error:
        if "Object arrays" in str(
            error
        ):  # The licensed file carries two dictionaries nobody needs here.
            return None
        raise
