"""The body model: the same numbers as smplx, and no pickles loaded from its file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smplx
import torch

from mambatalk.errors import InputError
from mambatalk.motion.body import load_body
from mambatalk.motion.rotations import axis_angle_to_matrix
from mambatalk.motion.stand_in.model import SOLE_HEIGHT, rest_skeleton, write_stand_in
from tests.helpers.stand_in_body import stand_in_body, stand_in_file

FRAMES = 3
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def motion() -> Tensors:
    random = torch.Generator().manual_seed(0)
    sizes = {"poses": (165, 0.3), "betas": (300, 0.5), "expressions": (100, 1.0), "trans": (3, 1.0)}
    return {
        name: scale * torch.randn(FRAMES, width, generator=random)
        for name, (width, scale) in sizes.items()
    }


@pytest.fixture(scope="module")
def model() -> smplx.SMPLX:
    return smplx.SMPLX(
        str(stand_in_file()),
        use_pca=False,
        flat_hand_mean=True,
        num_betas=300,
        num_expression_coeffs=100,
        batch_size=FRAMES,
        ext="npz",
    )


@torch.no_grad()
def _reference(model: smplx.SMPLX, motion: Tensors, expressions: torch.Tensor) -> Any:
    poses = motion["poses"]
    return model(
        betas=motion["betas"],
        expression=expressions,
        transl=motion["trans"],
        global_orient=poses[:, :3],
        body_pose=poses[:, 3:66],
        jaw_pose=poses[:, 66:69],
        leye_pose=poses[:, 69:72],
        reye_pose=poses[:, 72:75],
        left_hand_pose=poses[:, 75:120],
        right_hand_pose=poses[:, 120:],
    )


def _rotations(motion: Tensors) -> torch.Tensor:
    return axis_angle_to_matrix(motion["poses"].view(FRAMES, 55, 3))


def test_vertices_equal_those_of_smplx(model: smplx.SMPLX, motion: Tensors) -> None:
    reference = _reference(model, motion, motion["expressions"])
    ours = stand_in_body().vertices(
        _rotations(motion), motion["betas"], motion["expressions"], trans=motion["trans"]
    )
    torch.testing.assert_close(ours, reference.vertices, atol=2e-6, rtol=0)


def test_joints_equal_those_of_smplx_with_zero_expression(
    model: smplx.SMPLX, motion: Tensors
) -> None:
    reference = _reference(model, motion, torch.zeros(FRAMES, 100))
    body = stand_in_body()
    ours = body.joints(_rotations(motion), body.rest_joints(motion["betas"]), motion["trans"])
    torch.testing.assert_close(ours, reference.joints[:, :55], atol=2e-6, rtol=0)


def test_a_subset_has_the_vertices_of_the_whole_mesh(motion: Tensors) -> None:
    body = stand_in_body()
    given = _rotations(motion)
    subset = body.subset(50)
    arguments = given, motion["betas"], motion["expressions"]
    torch.testing.assert_close(
        body.vertices(*arguments, subset=subset), body.vertices(*arguments)[:, subset]
    )
    assert len(subset.unique()) == 50


def test_jaw_and_expressions_move_face_vertices_only(motion: Tensors) -> None:
    body = stand_in_body()
    rotations = torch.eye(3).repeat(FRAMES, 55, 1, 1)
    rest = body.vertices(rotations, motion["betas"], torch.zeros(FRAMES, 100))
    rotations[:, 22] = axis_angle_to_matrix(torch.tensor([0.3, 0.0, 0.0]))
    posed = body.vertices(rotations, motion["betas"], motion["expressions"])
    moved = (posed - rest).norm(dim=-1).amax(0) > 1e-4
    face = body.moved_by_face()
    assert moved.any()
    assert not (moved & ~face).any()
    assert 0.02 < float(face.float().mean()) < 0.3


def test_joints_are_differentiable(motion: Tensors) -> None:
    body = stand_in_body()
    poses = motion["poses"].clone().requires_grad_()
    body.joints(
        axis_angle_to_matrix(poses.view(FRAMES, 55, 3)), body.rest_joints(motion["betas"][0])
    ).sum().backward()
    assert poses.grad is not None
    assert poses.grad.isfinite().all()


def test_the_stand_in_file_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    write_stand_in(tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_bytes() == stand_in_file().read_bytes()
    assert stand_in_body().kind == "stand-in"


def test_the_stand_in_has_the_size_of_a_standing_person() -> None:
    body = stand_in_body()
    visible = body.v_template[body.faces.unique()]
    height = float(visible[:, 1].max() - visible[:, 1].min())
    assert 1.6 < height < 1.9
    assert float(visible[:, 1].min()) == pytest.approx(SOLE_HEIGHT, abs=0.02)
    left, right = visible[visible[:, 0] > 0.01], visible[visible[:, 0] < -0.01]
    assert len(left) == len(right)
    torch.testing.assert_close(
        body.joint_template, torch.tensor(rest_skeleton(), dtype=torch.float32), atol=1e-6, rtol=0
    )


def test_the_faces_of_the_stand_in_point_outwards() -> None:
    """The signed volume of the mesh is positive, and about that of a person in cubic metres."""
    body = stand_in_body()
    a, b, c = (body.v_template[body.faces[:, k]].double() for k in range(3))
    volume = float((torch.linalg.cross(a, b) * c).sum() / 6)
    assert 0.04 < volume < 0.1


def test_the_first_beta_scales_and_the_first_expression_moves_the_lip() -> None:
    body = stand_in_body()
    betas = torch.zeros(2, 300)
    still = torch.eye(3).repeat(2, 55, 1, 1)
    betas[1, 0] = 2
    small, large = body.vertices(still, betas, torch.zeros(2, 100))
    assert float(large[:, 1].max() - large[:, 1].min()) > 1.03 * float(
        small[:, 1].max() - small[:, 1].min()
    )
    shapes = torch.zeros(2, 100)
    shapes[1, 0] = 1
    closed, opened = body.vertices(still, torch.zeros(2, 300), shapes)
    assert float((opened - closed)[:, 1].min()) < -0.002


def test_pickles_in_the_file_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "body.npz"
    with np.load(stand_in_file()) as arrays:
        stored = dict(arrays)

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "loaded"), "w"))

    np.savez(path, **stored, extra=np.array(Trap(), dtype=object))
    assert load_body(path).kind == "stand-in"
    np.savez(path, **(stored | {"weights": np.array(Trap(), dtype=object)}))
    with pytest.raises(InputError, match="no weights"):
        load_body(path)
    assert not (tmp_path / "loaded").exists()


def test_the_error_for_a_missing_file_explains_where_to_get_it(tmp_path: Path) -> None:
    path = tmp_path / "SMPLX_NEUTRAL_2020.npz"
    with pytest.raises(InputError) as caught:
        load_body(path)
    assert all(
        word in str(caught.value)
        for word in (
            str(path),
            "https://smpl-x.is.tue.mpg.de",
            "licensed",
            "put it there",
            "body.path of params.yaml",
        )
    )


@pytest.mark.parametrize("content", [b"", b"not an npz"])
def test_a_broken_file_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "body.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"body\.npz"):
        load_body(path)


def test_a_file_with_fewer_shape_components_is_an_input_error(tmp_path: Path) -> None:
    with np.load(stand_in_file()) as arrays:
        stored = dict(arrays)
    stored["shapedirs"] = stored["shapedirs"][..., :20]
    np.savez(tmp_path / "body.npz", **stored)
    with pytest.raises(InputError, match="20 components"):
        load_body(tmp_path / "body.npz")
