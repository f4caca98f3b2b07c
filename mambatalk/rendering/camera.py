"""A fixed perspective camera in front of a standing figure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FIELD_OF_VIEW = np.deg2rad(24.0)
"""Vertical angle. Narrow, so that hands held forward do not look too large."""
MARGIN = 1.06
"""Distance of the camera relative to the one at which the figure just fits."""
RISE = 0.12
"""Height of the camera above the figure's centre, relative to its distance."""


@dataclass(frozen=True)
class Camera:
    """A perspective camera: x to the right, y up, looking along -z and slightly downwards.

    Args:
        position: Position (3,) in metres.
        tilt: Angle below the horizontal in radians.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.

    """

    position: Floats
    tilt: float
    width: int
    height: int

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return float(self.height / (2 * np.tan(FIELD_OF_VIEW / 2)))

    @property
    def axes(self) -> Floats:
        """Directions (3, 3) of the camera in rows: right, up and towards the viewer."""
        sine, cosine = np.sin(self.tilt), np.cos(self.tilt)
        return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]], np.float32)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Project points (N, 3) in metres.

        Returns:
            Pixel coordinates (N, 2), y downwards, and inverse depth 1 / distance (N,).

        """
        local = np.asarray((points - self.position) @ self.axes.T, np.float32)
        inverse_depth: Floats = np.float32(-1) / local[:, 2]
        centre = np.array([self.width / 2, self.height / 2], np.float32)
        scale = np.array([self.focal, -self.focal], np.float32)
        pixels: Floats = centre + scale * local[:, :2] * inverse_depth[:, None]
        return pixels, inverse_depth

    def rays(self) -> Floats:
        """Return the directions (height, width, 3) through the centres of the pixels."""
        x = np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2
        y = self.height / 2 - np.arange(self.height, dtype=np.float32) - 0.5
        grid = np.stack(np.broadcast_arrays(x[None], y[:, None], np.float32(-self.focal)), axis=-1)
        return grid @ self.axes


def frame_figure(low: Floats, high: Floats, *, width: int, height: int) -> Camera:
    """Place a camera so that a box is visible as a whole, from the front and slightly above.

    Args:
        low: Lower corner (3,) of the box in metres.
        high: Upper corner (3,) of the box in metres.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.

    """
    centre = (low + high) / 2
    half = (high - low) / 2
    tangent = np.tan(FIELD_OF_VIEW / 2)
    to_fit = max(half[1] / tangent, half[0] / (tangent * width / height))
    distance = MARGIN * to_fit + half[2]
    rise = RISE * distance
    position = np.array([centre[0], centre[1] + rise, centre[2] + distance], np.float32)
    return Camera(position, float(np.arctan2(rise, distance)), width, height)
