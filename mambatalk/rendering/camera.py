"""A fixed camera in front of a standing figure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FIELD_OF_VIEW = np.deg2rad(24.0)
"""Vertical; narrow, so that hands held forward do not swell."""
MARGIN = 1.06


@dataclass(frozen=True)
class Camera:
    """Perspective onto a picture; x to the right, y up, looking along -z with a slight tilt
    downwards.
    """

    position: Floats
    """Metres."""
    tilt: float
    """Radians below the horizontal."""
    width: int
    height: int

    @property
    def focal(self) -> float:
        """Pixels."""
        return float(self.height / (2 * np.tan(FIELD_OF_VIEW / 2)))

    @property
    def axes(self) -> Floats:
        """Rows: right, up and towards the viewer."""
        sine, cosine = np.sin(self.tilt), np.cos(self.tilt)
        return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]], np.float32)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Pixels (N, 2) with y downwards, and nearness 1 / distance (N,), of points (N, 3) in
        metres.
        """
        local = np.asarray((points - self.position) @ self.axes.T, np.float32)
        near: Floats = np.float32(-1) / local[:, 2]
        centre = np.array([self.width / 2, self.height / 2], np.float32)
        scale = np.array([self.focal, -self.focal], np.float32)
        pixels: Floats = centre + scale * local[:, :2] * near[:, None]
        return pixels, near

    def rays(self) -> Floats:
        """Directions (height, width, 3) through the pixels' centres."""
        x = np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2
        y = self.height / 2 - np.arange(self.height, dtype=np.float32) - 0.5
        grid = np.stack(np.broadcast_arrays(x[None], y[:, None], np.float32(-self.focal)), axis=-1)
        return grid @ self.axes


def frame_figure(low: Floats, high: Floats, *, width: int, height: int) -> Camera:
    """The camera that sees the box from `low` (3,) to `high` (3,) whole, from the front and a
    little above.
    """
    centre, half = (low + high) / 2, (high - low) / 2
    tangent = np.tan(FIELD_OF_VIEW / 2)
    distance = MARGIN * max(half[1] / tangent, half[0] / (tangent * width / height)) + half[2]
    rise = 0.12 * distance
    position = np.array([centre[0], centre[1] + rise, centre[2] + distance], np.float32)
    return Camera(position, float(np.arctan2(rise, distance)), width, height)
