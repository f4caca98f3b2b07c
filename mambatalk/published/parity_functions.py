"""Parity of functions without weights: rotations, selective scan, features, metrics."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mambatalk.audio.channels import amplitude_envelope, expand_ctc, normalise, wave_statistics
from mambatalk.metrics import LVD, FaceMSE, FrechetGestureDistance, L1Diversity
from mambatalk.metrics.beat_consistency import RULES, beat_consistency
from mambatalk.metrics.beats import audio_beats, check_mean_velocity
from mambatalk.models.mamba.scan import selective_scan
from mambatalk.motion.kinematics import central_velocity, contacts_of_feet
from mambatalk.motion.rotations import (
    axis_angle_to_6d,
    axis_angle_to_matrix,
    matrix_from_6d,
    matrix_to_axis_angle,
)
from mambatalk.published.fixture import Fixture, Measure

SCAN_INPUTS = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")


def check_rotations(fixture: Fixture) -> Iterator[Measure]:
    """Compare every conversion; the inverse uses the published formula."""
    yield fixture.close("matrix", axis_angle_to_matrix(fixture["axis_angle"]))
    yield fixture.close("rotation_6d", axis_angle_to_6d(fixture["axis_angle"]))
    yield fixture.close(
        "axis_angle_back", matrix_to_axis_angle(fixture["matrix"], formula="published")
    )
    yield fixture.close("raw_6d_matrix", matrix_from_6d(fixture["raw_6d"]))


def check_selective_scan(fixture: Fixture) -> Iterator[Measure]:
    """Compare values, the last state, and the gradient of every input."""
    inputs = {name: fixture[name].clone().requires_grad_() for name in SCAN_INPUTS}
    with torch.enable_grad():
        y, last_state = selective_scan(
            *(inputs[name] for name in SCAN_INPUTS[:5]),
            D=inputs["D"],
            z=inputs["z"],
            delta_bias=inputs["delta_bias"],
        )
    yield fixture.close("y", y)
    yield fixture.close("last_state", last_state)
    gradients = torch.autograd.grad(y, [*inputs.values()], fixture["grad_output"])
    for name, gradient in zip(inputs, gradients, strict=True):
        yield fixture.close(f"grad_{name}", gradient)


def check_features(fixture: Fixture) -> Iterator[Measure]:
    """Compare audio channels, foot contacts, and the velocity of the translation."""
    wave = fixture["wave"]
    yield fixture.close("amplitude", amplitude_envelope(wave))
    yield fixture.close("normalised", normalise(wave, *wave_statistics(wave)))
    yield fixture.equal("ctc_expanded", expand_ctc(fixture["ctc_ids"], len(wave)))
    yield fixture.equal("contact", contacts_of_feet(fixture["feet"]))
    yield fixture.close("velocity", central_velocity(fixture["trans"]))


def check_metrics(fixture: Fixture) -> Iterator[Measure]:
    """Compare published FGD, BC, L1 diversity, LVD and face MSE.

    BC is compared on positions folded by L1 diversity, as published, and on positions as they are.
    """
    frechet = FrechetGestureDistance(fixture["latent_a"].shape[-1], variant="published")
    frechet.update(fixture["latent_a"], truth=False)
    frechet.update(fixture["latent_b"], truth=True)
    yield fixture.close("fgd", frechet.compute())
    joints = fixture["joints"].unflatten(-1, (-1, 3))
    yield from _check_beats(fixture, joints)
    yield fixture.close("l1_diversity", L1Diversity(variant="published")(joints))
    vertices = [
        fixture[f"face_vertices_{side}"].unflatten(-1, (-1, 3)) for side in ("generated", "target")
    ]
    yield fixture.close("lvd_published", LVD(variant="published")(*vertices))
    yield fixture.close("face_mse", FaceMSE(variant="published")(*vertices))


def _check_beats(fixture: Fixture, joints: Tensor) -> Iterator[Measure]:
    wave = fixture["audio"].numpy()
    rule = RULES["published"]
    speeds = check_mean_velocity(fixture["mean_velocity"].numpy().astype(np.float64))
    yield fixture.close(
        "onset_times_after_cut", torch.from_numpy(audio_beats(wave, len(joints), rule))
    )
    for key, folded in (("bc_published", True), ("bc_unfolded", False)):
        score = beat_consistency(joints, wave, speeds, replace(rule, folded=folded))
        yield fixture.close(key, torch.tensor(score, dtype=torch.float64))
