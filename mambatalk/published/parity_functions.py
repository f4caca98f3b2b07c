"""Parity of what has no weights: rotations, the selective scan and its gradients, features, metrics."""

from collections.abc import Iterator

import torch

from mambatalk.audio.features import amplitude_envelope, expand_ctc, normalise, wave_statistics
from mambatalk.models.scan import selective_scan
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
    """Every conversion, the inverse by the published formula."""
    yield fixture.close("matrix", axis_angle_to_matrix(fixture["axis_angle"]))
    yield fixture.close("rotation_6d", axis_angle_to_6d(fixture["axis_angle"]))
    yield fixture.close("axis_angle_back", matrix_to_axis_angle(fixture["matrix"], formula="published"))
    yield fixture.close("raw_6d_matrix", matrix_from_6d(fixture["raw_6d"]))


def check_selective_scan(fixture: Fixture) -> Iterator[Measure]:
    """Values, last state, and the gradient of every input."""
    inputs = {name: fixture[name].clone().requires_grad_() for name in SCAN_INPUTS}
    with torch.enable_grad():
        y, last_state = selective_scan(**inputs)
    yield fixture.close("y", y)
    yield fixture.close("last_state", last_state)
    for name, gradient in zip(inputs, torch.autograd.grad(y, [*inputs.values()], fixture["grad_output"]), strict=True):
        yield fixture.close(f"grad_{name}", gradient)


def check_features(fixture: Fixture) -> Iterator[Measure]:
    """Sound channels, foot contacts, velocity of the translation."""
    wave = fixture["wave"]
    yield fixture.close("amplitude", amplitude_envelope(wave))
    yield fixture.close("normalised", normalise(wave, *wave_statistics(wave)))
    yield fixture.equal("ctc_expanded", expand_ctc(fixture["ctc_ids"], len(wave)))
    yield fixture.equal("contact", contacts_of_feet(fixture["feet"]))
    yield fixture.close("velocity", central_velocity(fixture["trans"]))
