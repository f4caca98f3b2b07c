"""Loss terms one by one, and the errors that only the corrected form of a loss penalises."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mambatalk.errors import InputError
from mambatalk.features.windows import WindowBatch
from mambatalk.fidelity import CORRECTED, Fidelity, FidelityRules
from mambatalk.models.generator.network import GeneratorOutput
from mambatalk.motion.body import Body
from mambatalk.motion.parts import (
    PART_CONTACT,
    PART_TRANSLATION,
    ground_velocity,
    integrate_ground,
    part_input,
)
from mambatalk.motion.rotations import axis_angle_to_6d, axis_angle_to_matrix
from mambatalk.motion.skeleton import (
    AUTO_ENCODERS,
    EXPRESSION_DIM,
    FOOT_JOINTS,
    PART_DIMS,
    PARTS,
    TRANSLATION,
    AutoEncoderName,
    Part,
)
from mambatalk.training.losses import (
    VERTEX,
    foot_sliding,
    geodesic,
    l1_of_differences,
    mse_of_differences,
)
from mambatalk.training.modules.generator_step import index_loss, latent_loss
from mambatalk.training.modules.part_losses import PartLoss
from tests.helpers.stand_in_body import stand_in_body
from tests.helpers.tiny_training import COMMON

BOTH: tuple[Fidelity, ...] = ("published", "corrected")
FIXTURE = Path(__file__).parents[3].parent / "shared" / "fixtures" / "generator.npz"
LENGTH = 16


@pytest.fixture
def batch() -> WindowBatch:
    draw = torch.Generator().manual_seed(0)
    rotations = axis_angle_to_6d(0.2 * torch.randn(2, LENGTH, 55, 3, generator=draw)).flatten(2)
    trans = torch.randn(2, LENGTH, 3, generator=draw).cumsum(1) / 100
    contact = torch.randint(2, (2, LENGTH, 4), generator=draw).float()
    return WindowBatch(
        motion=torch.cat([rotations, trans, contact], -1),
        expressions=torch.randn(2, LENGTH, EXPRESSION_DIM, generator=draw),
        betas=torch.randn(2, 300, generator=draw),
        words=torch.zeros(2, LENGTH, dtype=torch.long),
        speaker_index=torch.zeros(2, LENGTH, dtype=torch.long),
        frames=torch.tensor([0, LENGTH]),
        audio=None,
    )


def part_loss(
    part: AutoEncoderName,
    fidelity: Fidelity,
    *,
    body: Body | None = None,
    mesh_frames: int = 0,
    **weights: Any,
) -> PartLoss:
    return PartLoss.build(
        part,
        body or stand_in_body(),
        config=replace(COMMON, **weights),
        mesh_vertices=40,
        mesh_frames=mesh_frames,
        rules=FidelityRules.of(fidelity),
    )


def truth(part: AutoEncoderName, batch: WindowBatch, fidelity: Fidelity = "corrected") -> Tensor:
    """Return the output of a perfect network."""
    if part != "global":
        return part_input(part, batch.motion, batch.expressions, rules=FidelityRules.of(fidelity))
    perfect = part_input("lower", batch.motion, batch.expressions, rules=CORRECTED).clone()
    perfect[..., PART_TRANSLATION] = ground_velocity(batch.motion[..., TRANSLATION])
    return perfect


def test_geodesic_is_the_angle_but_never_below_its_clamp() -> None:
    turn = axis_angle_to_matrix(torch.tensor([[0.3, 0.0, 0.0]]))
    still = axis_angle_to_matrix(torch.zeros(1, 3)).requires_grad_()
    assert geodesic(turn, still).item() == pytest.approx(0.3, abs=1e-5)
    floor = geodesic(still, still.detach())
    assert floor.item() == pytest.approx(1.4e-3, rel=0.05)
    (gradient,) = torch.autograd.grad(floor, still)
    assert not gradient.any()


def test_geodesic_and_its_gradient_are_finite_at_half_a_turn() -> None:
    half = axis_angle_to_matrix(torch.tensor([[torch.pi, 0.0, 0.0]])).requires_grad_()
    angle = geodesic(half, torch.eye(3)[None])
    assert angle.item() == pytest.approx(torch.pi, abs=2e-3)
    (gradient,) = torch.autograd.grad(angle, half)
    assert gradient.isfinite().all()


def test_differences_are_first_plus_second_and_ignore_a_constant_error() -> None:
    target = torch.zeros(1, 4, 1)
    predicted = torch.tensor([0.0, 1.0, 3.0, 6.0]).view(1, 4, 1)
    assert float(l1_of_differences(predicted, target)) == pytest.approx(2 + 1)
    assert float(mse_of_differences(predicted, target)) == pytest.approx((1 + 4 + 9) / 3 + 1)
    assert float(l1_of_differences(target + 5, target)) == 0


def test_differences_along_the_vertex_index_ignore_a_body_that_shakes_as_a_whole() -> None:
    still = torch.zeros(1, 8, 5, 3)
    shaking = still + torch.tensor([0.1, -0.1] * 4).view(1, 8, 1, 1)
    assert float(l1_of_differences(shaking, still, axis=VERTEX)) == 0
    assert float(l1_of_differences(shaking, still)) == pytest.approx(0.2 + 0.4)


def test_foot_term_penalises_planted_feet_that_move_and_no_others() -> None:
    feet = torch.zeros(1, 3, 4, 3)
    feet[0, 1:, 0, 0] = 0.12  # The left ankle slides once, between frames 0 and 1.
    everywhere = 3 * 4 * 3
    contact = torch.zeros(1, 3, 4)
    assert float(foot_sliding(feet, contact)) == 0
    contact[0, 0, 0] = 0.96
    assert float(foot_sliding(feet, contact)) == pytest.approx(0.12 / everywhere)
    contact[0, 0, 0] = 0.95
    assert float(foot_sliding(feet, contact)) == 0


def test_contact_threshold_passes_no_gradient() -> None:
    feet = torch.randn(1, 5, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    contact = torch.ones(1, 5, 4, requires_grad=True)
    to_feet, to_contact = torch.autograd.grad(
        foot_sliding(feet, contact), (feet, contact), allow_unused=True
    )
    assert to_feet.any()
    assert to_contact is None


@pytest.mark.parametrize("fidelity", BOTH)
@pytest.mark.parametrize("part", AUTO_ENCODERS)
def test_perfect_output_has_only_the_lower_bound_of_the_geodesic_as_loss(
    part: AutoEncoderName, fidelity: Fidelity, batch: WindowBatch
) -> None:
    terms = part_loss(part, fidelity)(truth(part, batch, fidelity), batch)
    exact = {"global": {"position", "position_differences", "vertices", "mesh_differences", "foot"}}
    for name, value in terms.items():
        if name == "geodesic":
            assert float(value) == pytest.approx(1.4e-3, rel=0.1)
        elif name == "foot" or name in exact.get(part, ()):
            # Feet move where the random contacts plant them, and integrating with Euler steps does
            # not undo central differences.
            continue
        else:
            assert float(value) == pytest.approx(0, abs=1e-6), name


@pytest.mark.parametrize("part", AUTO_ENCODERS)
def test_every_output_channel_but_the_legs_of_the_global_net_has_a_gradient(
    part: AutoEncoderName, batch: WindowBatch
) -> None:
    prediction = (
        truth(part, batch)
        + 0.05 * torch.randn(2, LENGTH, PART_DIMS[part], generator=torch.Generator().manual_seed(1))
    ).requires_grad_()
    (gradient,) = torch.autograd.grad(
        sum(part_loss(part, "corrected")(prediction, batch).values()), prediction
    )
    has_gradient = gradient.abs().sum((0, 1)) > 0
    expected = torch.ones(PART_DIMS[part], dtype=torch.bool)
    if part == "global":
        # The legs are its input; its reconstruction of them is not used.
        expected[: PART_TRANSLATION.start] = False
    assert torch.equal(has_gradient, expected)


def test_published_global_loss_has_no_mesh_differences(batch: WindowBatch) -> None:
    prediction = truth("global", batch)
    prediction[..., PART_TRANSLATION.start + 1] += torch.tensor([0.1, -0.1] * (LENGTH // 2))
    terms = {fidelity: part_loss("global", fidelity)(prediction, batch) for fidelity in BOTH}
    assert "mesh_differences" not in terms["published"]
    assert terms["corrected"]["mesh_differences"] > 0.1
    torch.testing.assert_close(terms["published"]["vertices"], terms["corrected"]["vertices"])


def test_published_global_mesh_differences_would_be_zero_for_any_error(
    batch: WindowBatch,
) -> None:
    loss = part_loss("upper", "published")
    body = loss.body
    count = LENGTH
    turn = torch.eye(3).expand(count, 55, 3, 3)
    betas = batch.betas[:1].expand(count, -1)
    face = batch.expressions[0]
    trans = batch.motion[0, :, TRANSLATION]
    ours, theirs = (
        body.vertices(turn, betas, face, trans=move, subset=loss.vertices)[None]
        for move in (trans + torch.randn(count, 3), trans)
    )
    assert float(mse_of_differences(ours, theirs, axis=VERTEX)) == pytest.approx(0, abs=1e-9)
    assert float(mse_of_differences(ours, theirs)) > 0.1


def test_ground_velocity_has_a_term_for_x_and_one_for_z(batch: WindowBatch) -> None:
    prediction = truth("global", batch)
    wrong = prediction.clone()
    wrong[..., PART_TRANSLATION.start] += torch.tensor([0.1, -0.1] * (LENGTH // 2))
    both = wrong.clone()
    both[..., PART_TRANSLATION.stop - 1] += torch.tensor([0.1, -0.1] * (LENGTH // 2))
    for fidelity in BOTH:
        one, two = (part_loss("global", fidelity)(x, batch) for x in (wrong, both))
        assert float(one["velocity"]) == pytest.approx(0.1, rel=1e-4)
        assert float(one["velocity_differences"]) == pytest.approx(5 * (0.2 + 0.4), rel=1e-4)
        assert float(two["velocity_differences"]) == pytest.approx(10 * (0.2 + 0.4), rel=1e-4)


def body_whose_mouth_opens_by_jaw_or_by_expression(opening: Tensor) -> Body:
    """Return the stand-in with the displacement of a small jaw rotation as first expression."""
    body = stand_in_body()
    turn = torch.eye(3).repeat(2, 55, 1, 1)
    turn[1, 22] = axis_angle_to_matrix(opening)
    closed, opened = body.vertices(turn, torch.zeros(2, 300), torch.zeros(2, EXPRESSION_DIM))
    arrays = dict(body.named_buffers())
    arrays["shapedirs"] = arrays["shapedirs"].clone()
    arrays["shapedirs"][..., 300] = opened - closed
    arrays["joint_shapedirs"] = arrays["joint_shapedirs"].clone()
    arrays["joint_shapedirs"][..., 300] = 0
    return Body(arrays, kind="stand-in")


def test_errors_of_jaw_and_expression_cancel_in_published_meshes_only(batch: WindowBatch) -> None:
    opening = torch.tensor([0.02, 0.0, 0.0])
    body = body_whose_mouth_opens_by_jaw_or_by_expression(opening)
    closed = axis_angle_to_6d(torch.zeros(2, LENGTH, 55, 3)).flatten(2)
    still = batch._replace(
        motion=torch.cat([closed, batch.motion[..., 330:]], -1),
        betas=torch.zeros(2, 300),
        expressions=torch.zeros(2, LENGTH, EXPRESSION_DIM),
    )
    expressions = torch.zeros(2, LENGTH, EXPRESSION_DIM)
    expressions[..., 0] = 1
    twice_open = torch.cat([axis_angle_to_6d(opening).expand(2, LENGTH, 6), expressions], -1)
    error = {
        fidelity: float(part_loss("face", fidelity, body=body)(twice_open, still)["vertices"])
        for fidelity in BOTH
    }
    assert error["corrected"] > 1e-8
    assert error["published"] < 1e-3 * error["corrected"]


@pytest.mark.parametrize("part", PARTS)
def test_mesh_weight_of_zero_removes_the_mesh_terms(part: Part, batch: WindowBatch) -> None:
    terms = part_loss(part, "corrected", mesh_weight=0.0)(truth(part, batch), batch)
    assert "vertices" not in terms
    assert "mesh_differences" not in terms


@pytest.mark.parametrize("part", ["upper", "face"])
def test_mesh_terms_of_sampled_frames_are_those_of_the_whole_mesh_there(
    part: Part, batch: WindowBatch
) -> None:
    prediction = truth(part, batch) + 0.05 * torch.randn(
        2, LENGTH, PART_DIMS[part], generator=torch.Generator().manual_seed(1)
    )
    torch.manual_seed(0)
    sampled, whole = (
        part_loss(part, "corrected", mesh_frames=frames)(prediction, batch) for frames in (5, 0)
    )
    shorter = [
        batch._replace(
            motion=batch.motion[:, k : k + 5], expressions=batch.expressions[:, k : k + 5]
        )
        for k in range(LENGTH - 4)
    ]
    possible = [
        part_loss(part, "corrected")(prediction[:, k : k + 5], window)["vertices"]
        for k, window in enumerate(shorter)
    ]
    assert any(torch.allclose(sampled["vertices"], value) for value in possible)
    for name in sampled.keys() - {"vertices", "mesh_differences"}:
        assert torch.equal(sampled[name], whole[name])


def test_too_few_mesh_frames_for_an_acceleration_are_reported_in_one_line() -> None:
    with pytest.raises(
        InputError, match="body.mesh_frames: expected at least 3, or 0 for all, found 2"
    ):
        part_loss("upper", "corrected", mesh_frames=2)


def test_foot_term_of_a_walk_depends_on_its_translation_in_corrected_only(
    batch: WindowBatch,
) -> None:
    """Published feet have no translation: legs that swing under a moving body seem to slide."""
    walking = batch.motion.clone()
    walking[..., TRANSLATION] = 0
    walking[..., TRANSLATION.start] = torch.arange(LENGTH) / 30
    walking[..., 333:] = 1
    legs_still = batch._replace(motion=walking)
    terms = {
        fidelity: part_loss("lower", fidelity)(truth("lower", legs_still, fidelity), legs_still)
        for fidelity in BOTH
    }
    standing = legs_still._replace(motion=walking.clone())
    standing.motion[..., TRANSLATION] = 0
    unmoved = part_loss("lower", "corrected")(truth("lower", standing), standing)
    torch.testing.assert_close(terms["published"]["foot"], unmoved["foot"])
    assert not torch.allclose(terms["corrected"]["foot"], unmoved["foot"])


@pytest.mark.parametrize("part", ["lower", "global"])
def test_a_foot_that_stands_while_the_body_passes_over_it_does_not_slide(
    part: AutoEncoderName, batch: WindowBatch
) -> None:
    body = stand_in_body()
    pose = torch.zeros(2, LENGTH, 55, 3)
    left_hip = 1
    pose[:, :, left_hip, 0] = torch.linspace(0, 0.5, LENGTH)
    rest = body.rest_joints(batch.betas).repeat_interleave(LENGTH, 0)
    joints = body.joints(axis_angle_to_matrix(pose).flatten(0, 1), rest)
    ankle = joints.unflatten(0, (2, LENGTH))[:, :, FOOT_JOINTS[0]]
    trans = ankle[:, :1] - ankle
    contact = torch.zeros(2, LENGTH, 4)
    contact[..., 0] = 1
    motion = torch.cat([axis_angle_to_6d(pose).flatten(2), trans, contact], -1)
    step = batch._replace(motion=motion)

    def foot_term(ground: Tensor) -> float:
        prediction = truth(part, step)
        prediction[..., PART_TRANSLATION] = ground
        return float(part_loss(part, "corrected", body=body)(prediction, step)["foot"])

    # The velocities whose sum is this path; `ground_velocity` takes central differences.
    ground = trans.clone()
    ground[:, :-1, ::2] = 30 * trans.diff(dim=1)[..., ::2]
    stands = foot_term(ground)
    slides = foot_term(-ground)
    assert stands < 1e-5
    assert slides > 0.01


@pytest.mark.skipif(not FIXTURE.is_file(), reason="no ../shared/fixtures beside the checkout")
@pytest.mark.parametrize(
    ("name", "parts"), [("full", ("upper", "hands", "lower")), ("random", PARTS)]
)
def test_latent_and_index_terms_equal_the_published_values(
    name: str, parts: tuple[Part, ...]
) -> None:
    with np.load(FIXTURE, allow_pickle=False) as arrays:
        fixture = {
            key: torch.from_numpy(arrays[key])
            for key in arrays.files
            if not key.startswith("state")
        }
    output = GeneratorOutput(
        {part: fixture[f"{name}/rec_{part}"] for part in PARTS},
        {part: fixture[f"{name}/cls_{part}"] for part in PARTS},
    )
    latent = latent_loss(output, {part: fixture[f"latent/{part}"] for part in PARTS})
    index = index_loss(output, {part: fixture[f"code/{part}"].long() for part in PARTS}, parts)
    assert float(latent) == pytest.approx(float(fixture[f"loss_latent_{name}"]), rel=1e-6)
    assert float(index) == pytest.approx(float(fixture[f"loss_index_{name}"]), rel=1e-6)


PARTS_WITH_CONTACT: tuple[AutoEncoderName, ...] = ("lower", "global")


def test_contact_term_is_the_squared_error_in_both_networks_with_contacts(
    batch: WindowBatch,
) -> None:
    for part in PARTS_WITH_CONTACT:
        prediction = truth(part, batch)
        prediction[..., PART_CONTACT] += 0.5
        assert float(part_loss(part, "corrected")(prediction, batch)["contact"]) == pytest.approx(
            0.25
        )


def test_weights_scale_their_terms(batch: WindowBatch) -> None:
    """Each weight of the configuration multiplies the terms named after it and no others."""
    draw = torch.Generator().manual_seed(1)
    scaled: dict[AutoEncoderName, dict[str, set[str]]] = {
        "upper": {"mesh_weight": {"vertices", "mesh_differences"}},
        "face": {"mesh_weight": {"vertices", "mesh_differences"}},
        "lower": {"foot_weight": {"foot"}},
        "global": {
            "mesh_weight": {"vertices", "mesh_differences"},
            "foot_weight": {"foot"},
            "difference_weight": {
                "velocity_differences",
                "position_differences",
                "mesh_differences",
            },
        },
    }
    for part, weights in scaled.items():
        output = truth(part, batch)
        prediction = output + 0.05 * torch.randn(output.shape, generator=draw)
        if part in PARTS_WITH_CONTACT:
            prediction[..., PART_CONTACT] = 1
        for weight, terms in weights.items():
            one, three = (
                part_loss(part, "corrected", **{weight: value})(prediction, batch)
                for value in (1.0, 3.0)
            )
            for name, value in one.items():
                factor = 3 if name in terms else 1
                assert float(three[name]) == pytest.approx(factor * float(value), rel=1e-5), name
                assert float(value) > 0


def test_position_terms_of_the_global_net_are_weighted_errors(batch: WindowBatch) -> None:
    noise = torch.randn(2, LENGTH, 61, generator=torch.Generator().manual_seed(2))
    prediction = truth("global", batch) + 0.05 * noise
    target = batch.motion[..., TRANSLATION]
    position = integrate_ground(prediction[..., PART_TRANSLATION], target[:, 0])
    terms = part_loss("global", "corrected", mesh_weight=2.0, difference_weight=5.0)(
        prediction, batch
    )
    expected = {
        "position": (position - target).abs().mean(),
        "position_differences": 5 * l1_of_differences(position, target),
        "vertices": 2 * (position - target).square().mean(),
        "mesh_differences": 2 * 5 * mse_of_differences(position, target),
    }
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-5), name


def test_perfect_latents_have_no_loss() -> None:
    vectors = {part: torch.randn(1, 4, 8) for part in PARTS}
    perfect = GeneratorOutput(vectors, {})
    assert float(latent_loss(perfect, vectors)) == 0
    off = GeneratorOutput({part: value + 2 for part, value in vectors.items()}, {})
    assert float(latent_loss(off, vectors, 0.5)) == pytest.approx(0.5 * 4 * len(PARTS))


def test_sampled_frames_cover_the_whole_window_over_time() -> None:
    loss = part_loss("upper", "corrected", mesh_frames=5)
    torch.manual_seed(0)
    drawn = [loss.sample_frames(8, torch.device("cpu")) for _ in range(50)]
    assert {frames[0].item() for frames in drawn if frames is not None} == {0, 1, 2, 3}
    for frames in drawn:
        assert frames is not None
        assert torch.equal(frames - frames[0], torch.arange(5))
    assert loss.sample_frames(4, torch.device("cpu")) is None
