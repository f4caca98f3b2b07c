"""Find the results in a folder, and what belongs to them: audio, words and ground truth."""

import base64
import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from mambatalk.audio.recording import read_audio
from mambatalk.corpus.textgrid import Interval, read_textgrid
from mambatalk.errors import InputError
from mambatalk.export.gltf import write_glb
from mambatalk.files import read_json
from mambatalk.motion.body import Body
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.kinematics import floor_height
from mambatalk.motion.rotations import axis_angle_to_matrix
from mambatalk.motion.skeleton import (
    FOOT_JOINTS,
    JOINT_COUNT,
    SAMPLE_RATE,
)

GZIP: Final = "application/gzip"
AUDIO_ENDINGS: Final = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")
ANKLE_HEIGHT: Final = 0.03
"""Metres from the lowest joint of a foot to the floor below its sole."""

FLOOR_FRAMES: Final = 600
"""Frames, spread over a clip, from which the height of the floor is measured."""

GetBody = Callable[[], Body]


@dataclass(frozen=True, kw_only=True)
class ViewedClip:
    """One result, and the files that belong to it."""

    name: str
    motion_file: Path
    audio_file: Path | None
    textgrid: Path | None
    truth_file: Path | None
    get_body: GetBody

    @cached_property
    def motion(self) -> SmplxMotion:
        """The generated motion."""
        return SmplxMotion.read(self.motion_file)

    @cached_property
    def truth(self) -> SmplxMotion | None:
        """The recorded motion, if there is one."""
        return None if self.truth_file is None else SmplxMotion.read(self.truth_file)

    def describe(self, prefix: str) -> dict[str, Any]:
        """Return what the page needs to know, with addresses that begin with a prefix.

        Raises:
            InputError: The motion, the ground truth or the TextGrid cannot be read.

        """
        described = describe_motion(
            self.name,
            motion=self.motion,
            truth=self.truth,
            body=self.get_body(),
            words=[] if self.textgrid is None else read_textgrid(self.textgrid).words,
        )
        described["glb"] = f"{prefix}/generated.glb"
        if self.truth_file:
            described["truth"] = f"{prefix}/truth.glb"
        if self.audio_file:
            described["audio"] = f"{prefix}/audio.wav"
        else:
            described["facts"] += ", no audio"
        return described

    def generated_glb(self) -> bytes:
        """Return the generated motion as .glb."""
        return glb_bytes(self.motion, self.get_body())

    def truth_glb(self) -> bytes:
        """Return the ground truth as .glb."""
        assert self.truth is not None
        return glb_bytes(self.truth, self.get_body())

    def audio_wav(self) -> bytes:
        """Return the audio as a 16 kHz mono wav, which every browser plays.

        Raises:
            InputError: The audio cannot be decoded.

        """
        assert self.audio_file is not None
        return wav_bytes(read_audio(self.audio_file))


def find_clips(folder: Path, truth: Path | None, get_body: GetBody) -> list[ViewedClip]:
    """Find the npz files of a folder and what belongs to them.

    Args:
        folder: Results of `mambatalk generate`, or any folder of npz files. Audio and TextGrids are
            beside them under the same name, or where the result's JSON file says.
        truth: An npz, or a folder with npz files of the same names. If None, none is shown.
        get_body: Returns the body model.

    Raises:
        InputError: There is no npz file, or the ground truth is missing.

    """
    if not folder.is_dir():
        raise InputError(folder, "expected a folder of results, found none", "check the path")
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise InputError(
            folder,
            "expected npz files of motion, found none",
            "`mambatalk generate SPEECH --out DIR` writes them",
        )
    return list(_clips(files, truth, get_body))


def _clips(files: list[Path], truth: Path | None, get_body: GetBody) -> Iterator[ViewedClip]:
    for file in files:
        sidecar = file.with_suffix(".json")
        options = read_json(sidecar).get("options", {}) if sidecar.is_file() else {}
        beside = [file.with_suffix(ending) for ending in AUDIO_ENDINGS]
        truth_file = truth / file.name if truth and truth.is_dir() else truth
        if truth_file and not truth_file.is_file():
            raise InputError(
                truth_file, "expected ground truth, found no such file", "check --truth"
            )
        yield ViewedClip(
            name=file.stem,
            motion_file=file,
            audio_file=_existing(*beside, options.get("speech")),
            textgrid=_existing(file.with_suffix(".TextGrid"), options.get("textgrid")),
            truth_file=truth_file,
            get_body=get_body,
        )


def _existing(*candidates: Path | str | None) -> Path | None:
    paths = [Path(candidate) for candidate in candidates if candidate]
    return next((path for path in paths if path.is_file()), None)


def describe_motion(
    name: str,
    *,
    motion: SmplxMotion,
    truth: SmplxMotion | None,
    body: Body,
    words: Sequence[Interval],
) -> dict[str, Any]:
    """Return what the page needs to know of a clip, without the addresses of meshes and audio.

    Args:
        name: Name of the clip.
        motion: The generated motion.
        truth: The recorded motion. If None, there is none.
        body: Body model.
        words: Words of the speech with their times.

    """
    step = -(-len(motion) // FLOOR_FRAMES)
    feet = _joints(motion[::step], body)[:, FOOT_JOINTS]
    error = None
    if truth is not None:
        error = _distance(_joints(motion, body), _joints(truth, body)).round(4).tolist()
    seconds = len(motion) / motion.fps
    return {
        "name": name,
        "seconds": seconds,
        "fps": motion.fps,
        "facts": f"{seconds:.1f} s" + (", stand-in body" if body.kind == "stand-in" else ""),
        "floor": floor_height(feet) - ANKLE_HEIGHT,
        "glb": None,
        "truth": None,
        "audio": None,
        "words": [[word.start, word.end, word.text] for word in words if word.text.strip()],
        "error": error,
    }


def embedded_clip(
    name: str,
    *,
    motion: SmplxMotion,
    truth: SmplxMotion | None,
    body: Body,
    waveform: NDArray[np.float32],
    words: Sequence[Interval],
) -> dict[str, Any]:
    """Return a clip as the page wants it, with meshes and audio as data: URLs.

    Ten seconds with a recording beside it take about 2 MB.

    Args:
        name: Name of the clip.
        motion: The generated motion.
        truth: The recorded motion. If None, there is none.
        body: Body model.
        waveform: Audio (S,) at 16 kHz.
        words: Words of the speech with their times.

    """
    return {
        **describe_motion(name, motion=motion, truth=truth, body=body, words=words),
        "glb": _compressed(glb_bytes(motion, body)),
        "truth": _compressed(glb_bytes(truth, body)) if truth else None,
        "audio": _compressed(wav_bytes(waveform)),
    }


def wav_bytes(waveform: NDArray[np.float32]) -> bytes:
    """Return audio (S,) at 16 kHz as the content of a wav file."""
    file = io.BytesIO()
    soundfile.write(file, waveform, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def glb_bytes(motion: SmplxMotion, body: Body) -> bytes:
    """Return a motion as the content of a .glb file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "motion.glb"
        write_glb(path, motion, body)
        return path.read_bytes()


@torch.no_grad()
def _joints(motion: SmplxMotion, body: Body) -> NDArray[np.float32]:
    """Return joints (n, 55, 3) in metres."""
    rotations = axis_angle_to_matrix(
        torch.tensor(np.asarray(motion.poses, np.float32)).unflatten(-1, (JOINT_COUNT, 3))
    )
    rest = body.rest_joints(torch.tensor(np.asarray(motion.betas, np.float32)))
    trans = torch.tensor(np.asarray(motion.trans, np.float32))
    return np.asarray(body.joints(rotations, rest, trans).numpy())


def _distance(
    generated: NDArray[np.float32], truth: NDArray[np.float32]
) -> NDArray[np.floating[Any]]:
    """Return the mean distance (n,) of joints in metres, with the pelvis at one place."""
    frames = min(len(generated), len(truth))
    local, true = (joints[:frames] - joints[:frames, :1] for joints in (generated, truth))
    return np.linalg.norm(local - true, axis=-1).mean(axis=1)


def _compressed(content: bytes) -> str:
    """Return content as a compressed data: URL, which halves a mesh; the page decompresses it."""
    # Without a time, the same content gives the same bytes.
    data = base64.b64encode(gzip.compress(content, mtime=0)).decode("ascii")
    return f"data:{GZIP};base64,{data}"
