"""Files of motion: the formats, and the body that meshes, skeletons and videos are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from mambatalk.audio.recording import Recording
from mambatalk.console import Progress
from mambatalk.corpus.textgrid import Interval
from mambatalk.errors import InputError
from mambatalk.export.bvh import write_bvh
from mambatalk.export.gltf import write_glb
from mambatalk.export.vrma import write_vrma
from mambatalk.motion.body import Body, load_body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS
from mambatalk.motion.stand_in.model import write_stand_in
from mambatalk.reporting.text import count_of
from mambatalk.serving import FORMATS

VIDEO_HEIGHT: Final = 720
"""Pixels; a video is 1280 pixels wide."""


@dataclass(kw_only=True)
class Bodies:
    """The body that meshes and skeletons are made of, loaded when it is first needed."""

    path: Path | None
    """SMPL-X npz. If None, the stand-in body."""

    @cached_property
    def body(self) -> Body:
        """The body.

        Raises:
            InputError: The file is missing or not a body model.

        """
        if self.path is not None:
            return load_body(self.path)
        with TemporaryDirectory() as folder:
            stand_in = Path(folder) / "SMPLX_NEUTRAL_2020.npz"
            write_stand_in(stand_in)
            return load_body(stand_in)


def write_motion(
    path: Path,
    motion: SmplxMotion,
    recording: Recording,
    bodies: Bodies,
    progress: Progress | None = None,
    *,
    words: Sequence[Interval] | None = None,
    truth: SmplxMotion | None = None,
) -> None:
    """Write motion in the format that the ending of the path names.

    Args:
        path: File to write.
        motion: The motion.
        recording: Its speech, which a video contains.
        bodies: Body of meshes and skeletons.
        progress: Called with the number of finished frames of a video and their total.
        words: Words with their times, which a video shows. If None, it shows no words.
        truth: Recorded motion that a video shows beside it, on the same floor.

    Raises:
        InputError: The file cannot be written, or the body model is bad.
        ValueError: The ending is none of `FORMATS`.

    """
    if path.suffix == ".npz":
        motion.write(path)
    elif path.suffix == ".bvh":
        write_bvh(path, motion, bodies.body)
    elif path.suffix == ".glb":
        write_glb(path, motion, bodies.body)
    elif path.suffix == ".vrma":
        write_vrma(path, motion, bodies.body)
    elif path.suffix == ".mp4":
        from mambatalk.rendering.comparison import render_video
        from mambatalk.rendering.scene import Scene

        if truth is not None:
            # Recordings of other origins have their floor at other heights.
            floor, recorded_floor = (Scene(one, bodies.body).floor() for one in (motion, truth))
            lift = np.array([0, floor - recorded_floor, 0])
            truth = replace(truth, trans=truth.trans + lift)
        render_video(
            path,
            generated=motion,
            truth=truth,
            body=bodies.body,
            waveform=recording.waveform(),
            seconds=len(motion) / FPS,
            height=VIDEO_HEIGHT,
            words=words or (),
            progress=progress,
        )
    else:
        raise ValueError(f"expected one of {FORMATS}, found {path.suffix}")


def drawing_speed(frames: int, seconds: float) -> str:
    """Describe how fast a number of frames was drawn, and by what."""
    from mambatalk.rendering.comparison import RENDERER, drawing_threads

    threads = count_of(drawing_threads(), "thread")
    return f"drawn by the {RENDERER}, {threads}, {frames / seconds:.0f} frames per second"


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats of a list such as `npz,mp4`, without repetitions.

    Raises:
        InputError: A format is unknown, or there is none.

    """
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise InputError(
            "format",
            f"expected some of {', '.join(FORMATS)}, found {', '.join(unknown) or 'none'}",
            "separate formats by commas",
        )
    return names
