"""Stills of a few moments of a motion side by side, for pages about faults in a corpus."""

import io
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS
from mambatalk.rendering.bands import PAPER, Note

if TYPE_CHECKING:
    from mambatalk.motion.body import Body

SIZE: Final = 220
"""Height of a still in pixels."""
QUALITY: Final = 60
HELD_FRAMES: Final = 41
MAX_METRES: Final = 20.0
"""A body further from its median place is drawn at this distance."""


def draw_moments(motion: SmplxMotion, seconds: Sequence[float]) -> bytes:
    """Draw the stand-in body at a few moments of a motion, from left to right.

    Values that are not finite, and places far away, are replaced, because the motion may be faulty.

    Args:
        motion: The motion, of at least one frame.
        seconds: Moments to draw; they are clipped to the motion.

    Returns:
        A WebP file.

    """
    # Here, because they import torch, and most corpora have no faulty motion to draw.
    from mambatalk.rendering.comparison import LABELS
    from mambatalk.rendering.panel import Panel
    from mambatalk.rendering.scene import Scene

    frames = np.clip(np.rint(np.asarray(seconds) * FPS), 0, len(motion) - 1).astype(np.int64)
    # Each moment is held, so that the smooth cameras of the panel reach it.
    drawn = _drawable(motion, np.repeat(frames, HELD_FRAMES))
    scene = Scene(drawn, _stand_in())
    panel = Panel(
        scene, colour=LABELS[1][1], floor=scene.floor(), stature=scene.stature(), height=SIZE
    )
    stills = list(panel.pictures(np.arange(len(frames)) * HELD_FRAMES + HELD_FRAMES // 2))
    for frame, still in zip(frames, stills, strict=True):
        Note(f"{frame / FPS:.2f} s", scale=1).write(still)
    gap = np.full((panel.height, 2 * panel.gap, 3), PAPER, np.uint8)
    parts = [part for still in stills for part in (gap, still)][1:]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(parts, axis=1)).save(file, format="WEBP", quality=QUALITY)
    return file.getvalue()


def _drawable(motion: SmplxMotion, frames: NDArray[np.int64]) -> SmplxMotion:
    """Return the given frames with finite values, standing at the median place of the motion."""
    trans = np.nan_to_num(np.asarray(motion.trans, np.float64), posinf=0, neginf=0)
    middle = np.median(trans, axis=0)
    offset = np.clip(trans[frames] - middle, -MAX_METRES, MAX_METRES)
    return SmplxMotion(
        poses=np.clip(np.nan_to_num(motion.poses[frames], posinf=0, neginf=0), -100, 100),
        trans=np.clip(middle, -MAX_METRES, MAX_METRES) + offset,
        expressions=np.clip(np.nan_to_num(motion.expressions[frames]), -30, 30),
        betas=np.clip(np.nan_to_num(motion.betas), -6, 6),
    )


@cache
def _stand_in() -> "Body":
    from mambatalk.motion.body import load_body
    from mambatalk.motion.stand_in.model import write_stand_in

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.npz"
        write_stand_in(path)
        return load_body(path)
