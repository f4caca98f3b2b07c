"""Fixed perspective cameras: one in front of a standing figure, and one for close-ups.

A camera does not move. To follow a figure, the figure and the floor below it are moved the other
way, so that the camera looks at the same place in every frame.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from mambatalk.motion.skeleton import FPS

Floats = NDArray[np.float32]

FIGURE_SHARE = 2 / 3
"""Height of a standing figure relative to the height of the picture. The rest is room for raised
hands, and for the floor in front of the feet."""
FIELD_OF_VIEW = np.deg2rad(24.0)
"""Vertical angle. Narrow, so that hands held forward do not look too large."""
RISE = 0.12
"""Height of the camera above the figure's centre, relative to its distance."""
CLOSE_UP_DISTANCE = 1.6
"""Metres between the camera of a close-up and what it shows."""


@dataclass(frozen=True)
class Camera:
    """A perspective camera: x to the right, y up, looking along -z and slightly downwards.

    Args:
        position: Position (3,) in metres.
        tilt: Angle below the horizontal in radians.
        focal: Focal length in pixels.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.

    """

    position: Floats
    tilt: float
    focal: float
    width: int
    height: int

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


def figure_camera(stature: float, *, width: int, height: int) -> Camera:
    """Place a camera in front of a figure that stands at the origin, slightly above its centre.

    Args:
        stature: Height of the figure in metres. It fills FIGURE_SHARE of the picture's height.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.

    """
    focal = height / (2 * np.tan(FIELD_OF_VIEW / 2))
    distance = stature * focal / (FIGURE_SHARE * height)
    rise = RISE * distance
    position = np.array([0, stature / 2 + rise, distance], np.float32)
    return Camera(
        position, float(np.arctan2(rise, distance)), focal=float(focal), width=width, height=height
    )


def close_up_camera(extent: float, *, width: int, height: int) -> Camera:
    """Place a camera straight in front of the origin.

    Args:
        extent: Height in metres of what the picture shows at the origin.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.

    """
    position = np.array([0, 0, CLOSE_UP_DISTANCE], np.float32)
    focal = height * CLOSE_UP_DISTANCE / extent
    return Camera(position, 0.0, focal=focal, width=width, height=height)


def follow(path: Floats, *, slack: float, smoothing: float) -> Floats:
    """Return the places (frames, 3) in metres that a camera looks at to follow a path.

    Args:
        path: Positions (frames, 3) in metres at 30 fps.
        slack: Metres along each axis that the path may move away from the middle of the picture
            before the camera moves.
        smoothing: Standard deviation in seconds of the Gaussian that smooths the camera's motion.
            It looks as far ahead as back, so the camera does not lag behind.

    """
    places = np.empty_like(path)
    place = path.mean(axis=0)
    for frame, position in enumerate(path):
        place = np.clip(place, position - slack, position + slack)
        places[frame] = place
    # The path is continued point-symmetrically at both ends, so that a figure that already walks in
    # the first frame is followed from there.
    margin = round(4 * smoothing * FPS)
    continued = np.pad(places, ((margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    smooth = gaussian_filter1d(continued, smoothing * FPS, axis=0, mode="nearest")
    return np.asarray(smooth[margin : margin + len(path)], np.float32)
