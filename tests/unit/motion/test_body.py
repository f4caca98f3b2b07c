"""The body model: equal to smplx, and its file is never trusted."""

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


@pytest.fixture(scope="module")
def motion():
    random = torch.Generator().manual_seed(0)
    sizes = {"poses": (165, 0.3), "betas": (300, 0.5), "expressions": (100, 1.0), "trans": (3, 1.0)}
    return {
        name: scale * torch.randn(FRAMES, width, generator=random)
        for name, (width, scale) in sizes.items()
    }


@pytest.fixture(scope="module")
def model():
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
def _reference(model, motion, expressions):
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


def _rotations(motion):
    return axis_angle_to_matrix(motion["poses"].view(FRAMES, 55, 3))


def test_vertices_are_those_of_smplx(model, motion):
    reference = _reference(model, motion, motion["expressions"])
    ours = stand_in_body().vertices(
        _rotations(motion), motion["betas"], motion["expressions"], trans=motion["trans"]
    )
    torch.testing.assert_close(ours, reference.vertices, atol=2e-6, rtol=0)


def test_joints_are_those_of_smplx_with_zero_expression(model, motion):
    reference = _reference(model, motion, torch.zeros(FRAMES, 100))
    body = stand_in_body()
    ours = body.joints(_rotations(motion), body.rest_joints(motion["betas"]), motion["trans"])
    torch.testing.assert_close(ours, reference.joints[:, :55], atol=2e-6, rtol=0)


def test_a_subset_is_the_same_vertices(motion):
    body, given = stand_in_body(), _rotations(motion)
    subset = body.subset(50)
    arguments = given, motion["betas"], motion["expressions"]
    torch.testing.assert_close(
        body.vertices(*arguments, subset=subset), body.vertices(*arguments)[:, subset]
    )
    assert len(subset.unique()) == 50


def test_only_the_face_moves_by_jaw_and_expressions(motion):
    body = stand_in_body()
    rotations = torch.eye(3).repeat(FRAMES, 55, 1, 1)
    rest = body.vertices(rotations, motion["betas"], torch.zeros(FRAMES, 100))
    rotations[:, 22] = axis_angle_to_matrix(torch.tensor([0.3, 0.0, 0.0]))
    moved = (body.vertices(rotations, motion["betas"], motion["expressions"]) - rest).norm(
        dim=-1
    ).amax(0) > 1e-4
    face = body.moved_by_face()
    assert moved.any()
    assert not (moved & ~face).any()
    assert 0.02 < float(face.float().mean()) < 0.3


def test_joints_pass_gradients(motion):
    body = stand_in_body()
    poses = motion["poses"].clone().requires_grad_()
    body.joints(
        axis_angle_to_matrix(poses.view(FRAMES, 55, 3)), body.rest_joints(motion["betas"][0])
    ).sum().backward()
    assert poses.grad is not None
    assert poses.grad.isfinite().all()


def test_the_stand_in_is_the_same_file_twice(tmp_path):
    write_stand_in(tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_bytes() == stand_in_file().read_bytes()
    assert stand_in_body().kind == "stand-in"


def test_the_stand_in_is_a_standing_person():
    body = stand_in_body()
    seen = body.v_template[body.faces.unique()]
    height = float(seen[:, 1].max() - seen[:, 1].min())
    assert 1.6 < height < 1.9
    assert float(seen[:, 1].min()) == pytest.approx(SOLE_HEIGHT, abs=0.02)
    left, right = seen[seen[:, 0] > 0.01], seen[seen[:, 0] < -0.01]
    assert len(left) == len(right)
    torch.testing.assert_close(
        body.joint_template, torch.tensor(rest_skeleton(), dtype=torch.float32), atol=1e-6, rtol=0
    )


def test_the_stand_in_faces_outwards():
    """Its signed volume is positive, and that of a person."""
    body = stand_in_body()
    a, b, c = (body.v_template[body.faces[:, k]].double() for k in range(3))
    volume = float((torch.linalg.cross(a, b) * c).sum() / 6)
    assert 0.04 < volume < 0.1


def test_betas_scale_and_expressions_open_the_lip():
    body = stand_in_body()
    betas, still = torch.zeros(2, 300), torch.eye(3).repeat(2, 55, 1, 1)
    betas[1, 0] = 2
    small, large = body.vertices(still, betas, torch.zeros(2, 100))
    assert float(large[:, 1].max() - large[:, 1].min()) > 1.03 * float(
        small[:, 1].max() - small[:, 1].min()
    )
    shapes = torch.zeros(2, 100)
    shapes[1, 0] = 1
    closed, opened = body.vertices(still, torch.zeros(2, 300), shapes)
    assert float((opened - closed)[:, 1].min()) < -0.002


def test_a_missing_body_says_where_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"smpl-x\.is\.tue\.mpg\.de"):
        load_body(tmp_path / "none.npz")


def test_pickles_are_never_loaded(tmp_path):
    path = tmp_path / "body.npz"
    with np.load(stand_in_file()) as arrays:
        stored = dict(arrays)

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(path, **stored, extra=np.array(Trap(), dtype=object))
    assert load_body(path).kind == "stand-in"
    np.savez(path, **(stored | {"weights": np.array(Trap(), dtype=object)}))
    with pytest.raises(InputError, match="no weights"):
        load_body(path)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_body_says_where_to_get_it_and_where_to_put_it(tmp_path):
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
def test_a_broken_body_is_one_line(tmp_path, content):
    path = tmp_path / "body.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"body\.npz"):
        load_body(path)


def test_fewer_shapes_are_refused(tmp_path):
    with np.load(stand_in_file()) as arrays:
        stored = dict(arrays)
    stored["shapedirs"] = stored["shapedirs"][..., :20]
    np.savez(tmp_path / "body.npz", **stored)
    with pytest.raises(InputError, match="20 shapes"):
        load_body(tmp_path / "body.npz")
