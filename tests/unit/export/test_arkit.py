"""Coefficients of blend shapes: recovered where the basis can express the face, else bounded."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mambatalk.cli import app
from mambatalk.errors import InputError
from mambatalk.export.arkit import ShapeBasis, fit_shapes, read_basis
from mambatalk.motion.clip import SmplxMotion
from tests.helpers.stand_in_body import stand_in_body, stand_in_file

NAMES = ["jawOpen", "mouthSmileLeft", "browInnerUp", "eyeLookUpLeft"]


def _motion(coefficients: np.ndarray) -> SmplxMotion:
    """Return a motion whose first expressions are the given ones (n, k)."""
    frames, used = coefficients.shape
    expressions = np.zeros((frames, 100), np.float32)
    expressions[:, :used] = coefficients
    return SmplxMotion(
        poses=np.zeros((frames, 165), np.float32),
        expressions=expressions,
        trans=np.zeros((frames, 3), np.float32),
    )


def _basis() -> ShapeBasis:
    """Return the first expressions of the stand-in body as blend shapes."""
    body = stand_in_body()
    directions = body.shapedirs[..., 300 : 300 + len(NAMES)].permute(2, 0, 1).double()
    moved = directions.abs().amax(dim=(0, 2)).nonzero()[::7, 0]
    return ShapeBasis(NAMES, moved.numpy(), directions[:, moved].numpy())


def test_coefficients_within_the_bounds_are_recovered() -> None:
    wanted = np.random.default_rng(0).uniform(0, 1, (5, 3))
    fit = fit_shapes(_motion(wanted), stand_in_body(), _basis())
    np.testing.assert_allclose(fit.coefficients[:, :3], wanted, atol=1e-3)
    assert np.isnan(fit.coefficients[:, 3]).all(), "eyes cannot be recovered"
    assert fit.residual.max() < 1e-6
    assert fit.movement.min() > 1e-5


def test_what_the_shapes_cannot_express_is_the_residual() -> None:
    one_sided = _basis()
    alone = ShapeBasis(NAMES[:1], one_sided.vertices, one_sided.offsets[:1])
    fit = fit_shapes(_motion(np.array([[-0.5], [0.5], [2.0]])), stand_in_body(), alone)
    np.testing.assert_allclose(fit.coefficients[:, 0], [0, 0.5, 1], atol=1e-3)
    np.testing.assert_allclose(fit.residual / fit.movement, [1, 0, 0.5], atol=1e-3)


def test_an_open_jaw_moves_the_face() -> None:
    motion = _motion(np.zeros((1, 1)))
    motion.poses[:, 66] = 0.3
    fit = fit_shapes(motion, stand_in_body(), _basis())
    assert fit.movement[0] > 1e-4


def _write(path: Path, **changes: Any) -> Path:
    basis = _basis()
    arrays = {"names": np.array(basis.names), "vertices": basis.vertices, "offsets": basis.offsets}
    np.savez(path, **{**arrays, **changes})
    return path


def test_the_command_writes_a_row_for_each_frame_and_says_what_is_missed(tmp_path: Path) -> None:
    _motion(np.full((4, 3), 0.25)).write(tmp_path / "face.npz")
    result = CliRunner().invoke(
        app,
        [
            *("arkit", str(tmp_path / "face.npz"), "--out", str(tmp_path / "face.csv")),
            *("--basis", str(_write(tmp_path / "basis.npz")), "--body", str(stand_in_file())),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "the motion does not move eyes: eyeLookUpLeft stay empty" in result.output
    assert "4 frames, 3 shapes" in result.output
    assert "missed by 0.00 mm" in result.output
    with (tmp_path / "face.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["seconds", *NAMES, "residual_mm"]
    assert len(rows) == 4
    assert float(rows[3]["seconds"]) == pytest.approx(0.1)
    assert float(rows[0]["browInnerUp"]) == pytest.approx(0.25, abs=1e-3)
    assert rows[0]["eyeLookUpLeft"] == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": np.arange(4)}, "names: expected"),
        ({"vertices": np.array([10**6])}, "vertices: expected"),
        ({"offsets": np.zeros((4, 2, 3))}, "offsets: expected"),
    ],
)
def test_a_basis_of_another_form_is_reported(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = _write(tmp_path / "basis.npz", **changes)
    with pytest.raises(InputError, match=message):
        read_basis(path, stand_in_body())
