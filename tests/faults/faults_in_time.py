"""Faults in time and of labels, planted in a clip of any corpus."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mambatalk.corpus.textgrid import Interval, read_textgrid
from tests.faults.damage import FPS, Arrays, Corpus

PER_FRAME = ("poses", "trans", "expressions")
Plant = Callable[[Corpus, str], Any]


def each_frame(corpus: Corpus, clip: str, change: Callable[[Any], Any]) -> None:
    """Change poses, translation and expressions of a motion file alike."""

    def apply(arrays: Arrays) -> Arrays:
        return {
            name: change(value).astype(value.dtype) if name in PER_FRAME else value
            for name, value in arrays.items()
        }

    corpus.motion(clip, apply)


def played(values: Any, pace: float) -> Any:
    """Return frames (n, c) played in `pace` times the time, at 30 frames per second."""
    at = np.arange(int((len(values) - 1) * pace)) / pace
    low = np.minimum(at.astype(int), len(values) - 2)
    return values[low] + (at - low)[:, None] * (values[low + 1] - values[low])


def at_pace(pace: float) -> Plant:
    """Play the motion at another pace, cut to its former length."""
    return lambda corpus, clip: each_frame(
        corpus, clip, lambda values: played(values, pace)[: len(values)]
    )


def delay_motion(seconds: float) -> Plant:
    """Cut the start of the motion, or repeat its first frame."""
    frames = round(seconds * FPS)

    def change(values: Any) -> Any:
        rest = np.linspace(values[0], values[0] + 1e-3, max(0, frames))
        return np.concatenate([rest, values])[: len(values)] if frames > 0 else values[-frames:]

    return lambda corpus, clip: each_frame(corpus, clip, change)


def early_arms(arrays: Arrays) -> None:
    """Let shoulders, elbows and wrists move half a second too early."""
    arms = arrays["poses"][:, 48:66]
    arrays["poses"][: -FPS // 2, 48:66] = arms[FPS // 2 :].copy()


def shuffled(values: Any, start: int, count: int) -> Any:
    order = np.random.default_rng(0).permutation(count) + start
    return np.concatenate([values[:start], values[order], values[start + count :]])


def in_blocks(values: Any, size: int) -> Any:
    """Cut the motion into parts of `size` frames and join them in another order."""
    starts = np.random.default_rng(0).permutation(len(values) // size) * size
    return np.concatenate([values[start : start + size] for start in starts])


def blank(values: Any, parts: Sequence[slice]) -> Any:
    changed = values.copy()
    for part in parts:
        changed[part] = 0
    return changed


def hold(values: Any, start: int, count: int) -> Any:
    changed = values.copy()
    changed[start : start + count] = changed[start]
    return changed


def without_face(arrays: Arrays) -> None:
    arrays["expressions"][60:120] = 0


def tiers(
    corpus: Corpus,
    clip: str,
    change: Callable[[list[Interval], list[Interval]], tuple[list[Interval], list[Interval]]],
) -> None:
    """Rewrite both tiers of a TextGrid."""
    path = corpus.path(clip, "textgrid")
    read = read_textgrid(path)
    words, phones = change(read.words, read.phones)
    end = max(row.end for row in (*words, *phones))
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", f"{end}"]
    lines += ["<exists>", "2"]
    for name, rows in (("words", words), ("phones", phones)):
        lines += ['"IntervalTier"', f'"{name}"', "0", f"{end}", f"{len(rows)}"]
        lines += [f'{row.start}\n{row.end}\n"{row.text}"' for row in rows]
    path.write_text("\n".join(lines) + "\n")


def relabelled(words: list[Interval], label: Callable[[int, str], str]) -> list[Interval]:
    """Give each word another text; pauses stay."""
    spoken = [index for index, word in enumerate(words) if word.text.strip()]
    changed = list(words)
    for number, index in enumerate(spoken):
        changed[index] = replace(words[index], text=label(number, words[index].text))
    return changed


def shuffled_texts(words: list[Interval]) -> list[Interval]:
    texts = [word.text for word in words if word.text.strip()]
    order = np.random.default_rng(0).permutation(len(texts))
    return relabelled(words, lambda number, _: texts[order[number]])


def moved_edges(words: list[Interval]) -> list[Interval]:
    """Move all word edges by 40 ms, less than the lag that is found."""
    return [Interval(word.start + 0.04, word.end + 0.04, word.text) for word in words]


def first_half(words: list[Interval]) -> list[Interval]:
    half = words[-1].end / 2
    return [word if word.end < half else replace(word, text="") for word in words]


def in_characters(words: list[Interval]) -> list[Interval]:
    return relabelled(words, lambda number, text: "我们在花园里看见"[number % 4 :][: len(text)])


TIME: dict[str, tuple[Plant, str]] = {
    "60 frames per second labelled 30": (at_pace(2), "frame_rate_fits_sound"),
    "25 frames per second labelled 30": (at_pace(25 / 30), "frame_rate_fits_sound"),
    "a clock that is one per cent slow": (at_pace(1.01), "clock"),
    "motion that runs backwards": (
        lambda c, clip: each_frame(c, clip, lambda values: values[::-1]),
        "forwards",
    ),
    "motion 0.3 s late": (delay_motion(0.3), "mouth_fits_sound"),
    "motion 0.3 s early": (delay_motion(-0.3), "mouth_fits_sound"),
    "gestures 0.5 s early": (
        lambda c, clip: c.motion(clip, early_arms),
        "strokes_fit_sound",
    ),
    "two seconds of shuffled frames": (
        lambda c, clip: each_frame(c, clip, lambda values: shuffled(values, 90, 60)),
        "frames_in_order",
    ),
    "parts of a second in another order": (
        lambda c, clip: each_frame(c, clip, lambda values: in_blocks(values, 30)),
        "no_cut",
    ),
    "one frame repeated 30 times": (
        lambda c, clip: each_frame(c, clip, lambda values: hold(values, 90, 30)),
        "held",
    ),
    "every frame repeated 30 times": (
        lambda c, clip: each_frame(
            c, clip, lambda values: np.repeat(values[::30], 30, axis=0)[: len(values)]
        ),
        "repeated",
    ),
    "two seconds without data": (
        lambda c, clip: each_frame(c, clip, lambda values: blank(values, [slice(90, 150)])),
        "no_blank_frames",
    ),
    "bursts of three frames without data": (
        lambda c, clip: each_frame(
            c,
            clip,
            lambda values: blank(values, [slice(at, at + 3) for at in range(90, 300, 50)]),
        ),
        "no_blank_frames",
    ),
    "two seconds without a face": (
        lambda c, clip: c.motion(clip, without_face),
        "no_blank_face",
    ),
}
"""How each fault in time is planted, and the rule that finds it."""

LABELS: dict[str, tuple[Plant, str]] = {
    "exchanged tiers": (
        lambda c, clip: tiers(c, clip, lambda words, phones: (phones, words)),
        "words_are_words",
    ),
    "phones in both tiers": (
        lambda c, clip: tiers(c, clip, lambda words, phones: (phones, phones)),
        "phones_in_words",
    ),
    "words that are all alike": (
        lambda c, clip: tiers(
            c, clip, lambda words, phones: (relabelled(words, lambda *_: "word"), phones)
        ),
        "words_differ",
    ),
    "words of another alignment": (
        lambda c, clip: tiers(c, clip, lambda words, phones: (moved_edges(words), phones)),
        "words_fit_phones",
    ),
    "shuffled words": (
        lambda c, clip: tiers(c, clip, lambda words, phones: (shuffled_texts(words), phones)),
        "words_in_order",
    ),
    "words on half of the audio": (
        lambda c, clip: tiers(
            c, clip, lambda words, phones: (first_half(words), first_half(phones))
        ),
        "all_speech_has_words",
    ),
    "Chinese words in an English clip": (
        lambda c, clip: tiers(c, clip, lambda words, phones: (in_characters(words), phones)),
        "language_fits_id",
    ),
    "semantics that overlap": (
        lambda c, clip: c.semantics(
            clip, "01_beat_align\t0\t5\t5\t0.1\t", "07_iconic_h\t4\t6\t2\t0.7\tbig"
        ),
        "semantics_apart",
    ),
    "a semantic label with another duration": (
        lambda c, clip: c.semantics(clip, "01_beat_align\t0\t5\t50\t0.1\t"),
        "semantic_duration",
    ),
}
"""How each fault of the labels is planted, and the rule that finds it."""
