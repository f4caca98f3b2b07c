"""Faults of one clip: damage to its files, the rule that finds it, and other violated rules."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from mambatalk.corpus.layout import Kind
from mambatalk.corpus.textgrid import Interval
from tests.faults.damage import FPS, RATE, Arrays, Corpus, shifted, turning

CLIP = "3_celia_0_4_4"
"""The clip to damage: of the training split, eighteen seconds long."""


@dataclass(frozen=True)
class Fault:
    """A fault and the rules that find it."""

    name: str
    plant: Callable[[Corpus], Any]
    rule: str
    also: frozenset[str] = frozenset()
    """Other rules that the fault violates."""


def fault(name: str, rule: str, plant: Callable[[Corpus], Any], *also: str) -> Fault:
    return Fault(name, plant, rule, frozenset(also))


class Unpickled:
    """Ends the process if it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('a pickle was loaded')",)


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


def drop(arrays: Arrays, name: str) -> Arrays:
    return {key: value for key, value in arrays.items() if key != name}


def freeze(arrays: Arrays, columns: slice) -> None:
    arrays["poses"][60:150, columns] = arrays["poses"][60, columns]


def freeze_left_arm(arrays: Arrays) -> None:
    for joint in (16, 18, 20, *range(25, 40)):
        freeze(arrays, slice(3 * joint, 3 * joint + 3))
    arrays["poses"][:, 51:54] += 0.1 * np.sin(np.arange(len(arrays["poses"])))[:, None]


def lie(arrays: Arrays) -> None:
    """Rotate the body by 90 degrees, as if another axis were vertical."""
    arrays["poses"][:, :3] = (np.pi / 2, 0, 0)


def spike(arrays: Arrays, angle: float) -> None:
    arrays["poses"][100, 54:57] += angle


def slower(arrays: Arrays) -> Arrays:
    """Drop every second frame, but keep the frame rate of 30."""
    return {
        name: value[::2] if name in ("poses", "trans", "expressions") else value
        for name, value in arrays.items()
    }


def held(arrays: Arrays) -> Arrays:
    """Repeat every second frame, as for a recording at 15 frames per second."""
    return {
        name: np.repeat(value[::2], 2, axis=0)[: len(value)]
        if name in ("poses", "trans", "expressions")
        else value
        for name, value in arrays.items()
    }


def set_sample(samples: Any, value: float) -> Any:
    samples[RATE] = value
    return samples


def folder_for(corpus: Corpus, kind: Kind) -> None:
    path = corpus.path(CLIP, kind)
    path.unlink()
    path.mkdir()


def back_and_forth(arrays: Arrays) -> Arrays:
    """Extend the motion by nine seconds without a jump."""
    return {
        name: np.concatenate([value, value[::-1], value])[: len(value) + 9 * FPS]
        if name in ("poses", "trans", "expressions")
        else value
        for name, value in arrays.items()
    }


def short(corpus: Corpus) -> None:
    corpus.motion(
        CLIP,
        lambda arrays: {
            name: value[30:90] if name in ("poses", "trans", "expressions") else value
            for name, value in arrays.items()
        },
    )
    corpus.wave(CLIP, lambda samples: samples[RATE : 3 * RATE])
    corpus.path(CLIP, "textgrid").unlink()
    corpus.path(CLIP, "semantics").unlink()


def drift(corpus: Corpus, axis: int, metres: float) -> None:
    corpus.add(CLIP, "trans", turning(corpus.frames(CLIP), metres)[:, None] * np.eye(3)[axis])


def turn(corpus: Corpus, joint: int, to: float, axis: int = 0) -> None:
    corpus.joint(CLIP, joint, turning(corpus.frames(CLIP), to), axis)


def negative(words: list[Interval]) -> list[Interval]:
    """Swap words and pauses, as in the TextGrid of another clip."""
    return [replace(word, text="" if word.text else "word") for word in words]


def with_row(words: list[Interval], row: Interval) -> list[Interval]:
    return sorted([*words, row], key=lambda word: word.start)


def stretch_first(words: list[Interval]) -> list[Interval]:
    """End each word 100 ms too late."""
    return [replace(word, end=word.end + 0.1) if word.text else word for word in words]


def quiet(samples: Any, part: slice) -> Any:
    samples[part] = 0
    return samples


READING = [
    fault(
        "motion cut short, as 7_sophie_1_1_1 of BEATX",
        "readable",
        lambda c: c.bytes(CLIP, "motion", cut),
    ),
    fault("a bit of the motion flipped", "readable", lambda c: c.bytes(CLIP, "motion", flip)),
    fault("an empty motion file", "readable", lambda c: c.bytes(CLIP, "motion", lambda data: b"")),
    fault("no motion file", "readable", lambda c: c.path(CLIP, "motion").unlink()),
    fault(
        "motion without expressions",
        "readable",
        lambda c: c.motion(CLIP, partial(drop, name="expressions")),
    ),
    fault(
        "motion with a pickle in it",
        "readable",
        lambda c: c.motion(
            CLIP, lambda arrays: arrays.update(betas=np.array([Unpickled()], dtype=object))
        ),
    ),
    fault(
        "poses of 52 joints",
        "readable",
        lambda c: c.motion(CLIP, lambda arrays: arrays.update(poses=arrays["poses"][:, :156])),
    ),
    fault("no audio file", "readable", lambda c: c.path(CLIP, "wave").unlink()),
    fault(
        "a web page in place of the audio",
        "readable",
        lambda c: c.bytes(
            CLIP,
            "wave",
            lambda data: b"<!DOCTYPE html><html><title>429 Too Many Requests</title></html>",
        ),
    ),
    fault(
        "an audio file that ends after its header",
        "readable",
        lambda c: c.bytes(CLIP, "wave", lambda d: d[:44]),
    ),
    fault(
        "an audio file truncated after two thirds", "readable", lambda c: c.bytes(CLIP, "wave", cut)
    ),
    fault(
        "audio of one sample, which has none at 16 kHz",
        "readable",
        lambda c: c.wave(CLIP, lambda samples: samples[:1], rate=48_000),
    ),
    fault(
        "NaN in the audio",
        "readable",
        lambda c: c.wave(CLIP, partial(set_sample, value=np.nan), subtype="FLOAT"),
    ),
    fault(
        "infinity in the audio",
        "readable",
        lambda c: c.wave(CLIP, partial(set_sample, value=np.inf), subtype="FLOAT"),
    ),
    fault("a folder in place of the audio", "readable", lambda c: folder_for(c, "wave")),
    fault(
        "a motion file above the size limit",
        "readable",
        lambda c: os.truncate(c.path(CLIP, "motion"), 2**29 + 1),
    ),
    fault("a TextGrid cut short", "readable", lambda c: c.bytes(CLIP, "textgrid", cut)),
    fault(
        "an interval that ends before it starts",
        "readable",
        lambda c: c.words(CLIP, lambda words: [Interval(2.0, 1.0, "back"), *words]),
    ),
    fault(
        "semantics with spaces instead of tabs",
        "readable",
        lambda c: c.semantics(CLIP, "01_beat_align 0 68.0 68.0 0.1"),
    ),
    fault(
        "a clip missing in the split table",
        "listed",
        lambda c: c.table(lambda text: text.replace(f"{CLIP},train\n", "")),
    ),
]
MOTION = [
    fault(
        "60 frames per second",
        "frame_rate",
        lambda c: c.motion(CLIP, lambda arrays: arrays.update(mocap_frame_rate=np.array(60))),
        "same_pace",
        "same_length",
    ),
    fault(
        "NaN in one frame of the poses",
        "finite",
        lambda c: c.motion(CLIP, lambda arrays: arrays["poses"].__setitem__((100, 5), np.nan)),
    ),
    fault(
        "infinity in the translation",
        "finite",
        lambda c: c.motion(CLIP, lambda arrays: arrays["trans"].__setitem__((100, 1), np.inf)),
        "rise",
        "translation_speed",
    ),
    fault("only two seconds", "long_enough", short, "text"),
    fault(
        "degrees instead of radians",
        "rotation_norm",
        lambda c: c.motion(CLIP, lambda arrays: arrays.update(poses=np.degrees(arrays["poses"]))),
        "joint_speed",
        "joint_jerk",
        "trunk_limit",
        "arms_limit",
        "legs_limit",
        "jaw_limit",
        "eyes_limit",
        "hands_limit",
        "trembles",
        "trembles_at_times",
        "one_branch",
        "on_floor",
        "usual_floor",
        "usual_arms",
        "usual_jaw",
        "usual_left_hand",
        "usual_right_hand",
    ),
    fault(
        "one frame of a shoulder lost",
        "joint_speed",
        lambda c: c.motion(CLIP, partial(spike, angle=1.7)),
        "joint_jerk",
    ),
    fault(
        "a jump in the rotation of a shoulder",
        "joint_jerk",
        lambda c: c.motion(CLIP, partial(spike, angle=0.85)),
    ),
    fault(
        "all joints frozen for three seconds",
        "frozen",
        lambda c: c.motion(CLIP, partial(freeze, columns=slice(0, 165))),
    ),
    fault("15 frames per second, each repeated", "repeated", lambda c: c.motion(CLIP, held)),
    fault(
        "the left arm frozen for three seconds",
        "frozen_limb",
        lambda c: c.motion(CLIP, freeze_left_arm),
        "trembles",
    ),
    fault("another vertical axis", "upright", lambda c: c.motion(CLIP, lie)),
    fault(
        "the body two metres away for a frame",
        "translation_speed",
        lambda c: c.motion(
            CLIP, lambda arrays: arrays["trans"].__setitem__(100, arrays["trans"][100] + (2, 0, 0))
        ),
    ),
    fault("a head turned backwards", "trunk_limit", lambda c: turn(c, 15, 2.4, axis=1)),
    fault(
        "an elbow bent through the arm",
        "arms_limit",
        lambda c: turn(c, 18, 3.1, axis=1),
        "frozen_limb",
        "elbows_bend",
    ),
    fault("a knee bent through the leg", "legs_limit", lambda c: turn(c, 4, 3.1)),
    fault("a jaw opened too far", "jaw_limit", lambda c: turn(c, 22, 1.4), "usual_jaw"),
    fault("eyes that look inwards", "eyes_limit", lambda c: turn(c, 23, 1.5)),
    fault(
        "a finger bent through the hand", "hands_limit", lambda c: turn(c, 26, 3.0), "frozen_limb"
    ),
    fault("the body drifts by five metres", "room", lambda c: drift(c, 0, 5)),
    fault(
        "the body sinks by more than a metre",
        "rise",
        lambda c: drift(c, 1, -1.2),
        "on_floor",
        "usual_floor",
    ),
    fault(
        "expressions ten times too large",
        "expression_range",
        lambda c: c.motion(
            CLIP, lambda arrays: arrays.update(expressions=10 * arrays["expressions"])
        ),
        "usual_face",
    ),
    fault(
        "a face that does not move",
        "face_moves",
        lambda c: c.motion(
            CLIP, lambda arrays: arrays.update(expressions=0 * arrays["expressions"])
        ),
        "frozen_face",
        "usual_face",
    ),
    fault(
        "shape parameters ten times too large",
        "shape_range",
        lambda c: c.motion(CLIP, lambda arrays: arrays.update(betas=20 * arrays["betas"])),
        "speaker_shape",
    ),
]
SOUND = [
    fault(
        "audio that ends 22 s after the motion",
        "same_length",
        lambda c: c.wave(
            CLIP,
            lambda samples: np.concatenate([samples, samples, samples[::-1]])[
                : len(samples) + 22 * RATE
            ],
        ),
        "same_pace",
        "text_fits_sound",
    ),
    fault(
        "motion that ends nine seconds after the audio",
        "same_length",
        lambda c: c.motion(CLIP, back_and_forth),
        "same_pace",
    ),
    fault(
        "every second frame missing", "same_pace", lambda c: c.motion(CLIP, slower), "same_length"
    ),
    fault(
        "silent audio",
        "audible",
        lambda c: c.wave(CLIP, lambda samples: 0 * samples),
        "silence",
        "silent_start",
        "silent_end",
        "text_fits_sound",
    ),
    fault(
        "a disconnected microphone with an offset",
        "audible",
        lambda c: c.wave(CLIP, lambda samples: 0 * samples + 0.3),
        "dc_offset",
        "text_fits_sound",
    ),
    fault(
        "integer samples in a float file",
        "overdriven",
        lambda c: c.wave(CLIP, lambda samples: samples * 32_768, subtype="FLOAT"),
        "clipping",
        "dc_offset",
    ),
    *(
        fault(
            f"one sample of {value:g}",
            "absurd_sample",
            lambda c, value=value: c.wave(CLIP, partial(set_sample, value=value), subtype="FLOAT"),
            "dc_offset",
        )
        for value in (1e10, -1e38)
    ),
    fault(
        "44.1 kHz",
        "sample_rate",
        lambda c: c.wave(
            CLIP,
            lambda samples: np.interp(
                np.arange(0, len(samples), RATE / 44_100), np.arange(len(samples)), samples
            ),
            rate=44_100,
        ),
    ),
    fault(
        "two channels",
        "mono",
        lambda c: c.wave(CLIP, lambda samples: np.stack([samples, samples], axis=1)),
    ),
    fault(
        "an MP3 with the suffix wav",
        "container",
        lambda c: c.wave(CLIP, lambda samples: samples, format="MP3", subtype="MPEG_LAYER_III"),
    ),
    fault(
        "audio clipped at full scale",
        "clipping",
        lambda c: c.wave(CLIP, lambda samples: np.clip(20 * samples, -1, 1)),
    ),
    fault(
        "audio with an offset of a tenth",
        "dc_offset",
        lambda c: c.wave(CLIP, lambda samples: samples + 0.1),
        "text_fits_sound",
    ),
    fault(
        "half a second of audio",
        "silence",
        lambda c: c.wave(
            CLIP,
            lambda samples: np.concatenate(
                [
                    0 * samples[: 4 * RATE],
                    samples[4 * RATE : 4 * RATE + RATE // 2],
                    0 * samples[4 * RATE + RATE // 2 :],
                ]
            ),
        ),
        "silent_end",
    ),
    fault(
        "the first seven seconds silent",
        "silent_start",
        lambda c: c.wave(CLIP, partial(quiet, part=slice(0, 7 * RATE))),
    ),
    fault(
        "the last seven seconds silent",
        "silent_end",
        lambda c: c.wave(CLIP, partial(quiet, part=slice(-7 * RATE, None))),
    ),
    fault(
        "audio half a second early",
        "mouth_fits_sound",
        lambda c: c.wave(CLIP, lambda samples: samples[RATE // 2 :]),
        "text_in_time",
        "text_ends_in_time",
        "text_fits_sound",
    ),
]
TEXT = [
    fault("a folder in place of the TextGrid", "text", lambda c: folder_for(c, "textgrid")),
    fault("no TextGrid", "text", lambda c: c.path(CLIP, "textgrid").unlink()),
    fault(
        "a TextGrid without words",
        "text_covers_sound",
        lambda c: c.words(CLIP, lambda words: [replace(word, text="") for word in words]),
        "text_fits_sound",
    ),
    fault(
        "words during silence",
        "text_fits_sound",
        lambda c: c.words(CLIP, negative),
        "word_length",
    ),
    fault(
        "words half a second late",
        "text_in_time",
        lambda c: c.words(CLIP, partial(shifted, seconds=0.5)),
        "text_ends_in_time",
        "text_fits_sound",
    ),
    fault(
        "a word after the end of the audio",
        "text_ends_in_time",
        lambda c: c.words(
            CLIP, lambda words: [*words, Interval(words[-1].end + 1, words[-1].end + 1.5, "late")]
        ),
    ),
    fault(
        "a word of five seconds",
        "word_length",
        lambda c: c.words(
            CLIP,
            lambda words: [
                *(word for word in words if word.end <= 2),
                Interval(2, 7, "looong"),
                *(word for word in words if word.start >= 7),
            ],
        ),
    ),
    fault("words that overlap", "words_apart", lambda c: c.words(CLIP, stretch_first)),
    fault(
        "an unknown semantic label",
        "semantic_label",
        lambda c: c.semantics(CLIP, "shrug\t0\t5\t5\t0.5\t"),
    ),
    fault(
        "a semantic score of seven",
        "semantic_score",
        lambda c: c.semantics(CLIP, "07_iconic_h\t0\t5\t5\t7\tbig"),
    ),
    fault(
        "semantics of a longer clip",
        "semantic_ends_in_time",
        lambda c: c.semantics(CLIP, "01_beat_align\t0\t68.0\t68.0\t0.1\t"),
    ),
]
FAULTS = [*READING, *MOTION, *SOUND, *TEXT]
