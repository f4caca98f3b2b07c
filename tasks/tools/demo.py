"""Turn a sentence into a video: `python -m tasks.tools.demo`, or `make demo TEXT="..."`.

eSpeak NG speaks the sentence with the voice of the sample's first speaker, and the model in
`bundle` moves to it. Files are written to `runs/demo`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import soundfile
import soxr
import typer
from numpy.typing import NDArray

from mambatalk.console import progress_bar
from mambatalk.corpus.textgrid import read_textgrid
from mambatalk.errors import InputError
from mambatalk.files import make_folder
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import SAMPLE_RATE
from mambatalk.rendering.comparison import render_preview
from mambatalk.runtime import device
from mambatalk.sample.espeak import Utterance, Word, speak
from mambatalk.sample.style import speaker_styles
from mambatalk.serving.generation import Model, Request, generate_files
from mambatalk.serving.output import Bodies
from tasks.runtime.command import run_command

BUNDLE: Final = Path("bundle")
BODY: Final = Path("data/sample/body/SMPLX_NEUTRAL_2020.npz")
OUT: Final = Path("runs/demo")
EXAMPLE: Final = "Please push the huge window open, and maybe nobody stops the river."
LEAD: Final = 0.6
"""Seconds of silence before and after the sentence, in which the figure comes to rest."""
PEAK: Final = 0.6
"""Amplitude of the loudest sample; full scale is 1."""


def demo(text: str) -> list[Path]:
    """Speak a text and write its motion, a video and a preview.

    Raises:
        InputError: There are no words in the text, or `make repro` has not made a bundle.

    """
    if not (BUNDLE / "bundle.json").is_file():
        raise InputError(BUNDLE, "expected a trained model, found none", "run `make repro` first")
    style = speaker_styles(1)[0]
    sentences = clean_sentences(text)
    waveform, words = _join(speak(sentences, style.voice))

    make_folder(OUT)
    speech = OUT / "demo.wav"
    soundfile.write(speech, waveform, SAMPLE_RATE)
    _write_textgrid(speech.with_suffix(".TextGrid"), words, len(waveform) / SAMPLE_RATE)
    model = Model.load(BUNDLE, device())
    bodies = Bodies(path=BODY if BODY.is_file() else None)
    request = Request(
        speech=speech,
        out=OUT,
        formats=("npz", "glb", "mp4"),
        speaker_id=min(model.synthesizer.bundle.speakers),
        textgrid=speech.with_suffix(".TextGrid"),
    )
    result = generate_files(model, bodies, request, progress_bar)
    preview = OUT / "demo.webp"
    render_preview(
        preview,
        generated=SmplxMotion.read(OUT / "demo.npz"),
        truth=None,
        body=bodies.body,
        waveform=waveform,
        words=read_textgrid(speech.with_suffix(".TextGrid")).words,
    )
    return [*result.files, preview]


def clean_sentences(text: str) -> list[str]:
    """Return the sentences of a text in the form that `speak` takes: words and commas.

    Raises:
        InputError: There are no words in the text.

    """
    sentences = []
    for sentence in re.split(r"[.!?;:\n]+", text):
        words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*,?", sentence)
        if words:
            sentences.append(" ".join(words).replace("’", "'"))
    if not sentences:
        raise InputError("demo", "expected a sentence, found no words", 'make demo TEXT="..."')
    return sentences


def _join(utterances: Sequence[Utterance]) -> tuple[NDArray[np.float32], list[Word]]:
    """Join utterances to a waveform (S,) at 16 kHz with pauses around each, and its words."""
    pause = np.zeros(round(LEAD * SAMPLE_RATE), np.float32)
    pieces = [pause]
    words = []
    for utterance in utterances:
        start = sum(map(len, pieces)) / SAMPLE_RATE
        words += [
            Word(word.text, start + word.start, start + word.end, ()) for word in utterance.words
        ]
        pieces += [soxr.resample(utterance.samples, utterance.rate, SAMPLE_RATE), pause]
    waveform = np.concatenate(pieces)
    return waveform * np.float32(PEAK / max(float(np.abs(waveform).max()), 1e-6)), words


def _write_textgrid(path: Path, words: Sequence[Word], seconds: float) -> None:
    from textgrid import IntervalTier, TextGrid

    tier = IntervalTier("words", 0, seconds)
    clock = 0.0
    for word in words:
        # A number is several words at one place, one after another.
        start = max(word.start, clock)
        if word.end > start:
            tier.add(start, word.end, word.text.lower())
            clock = word.end
    grid = TextGrid(maxTime=seconds)
    grid.append(tier)
    grid.write(str(path))


def command(
    text: Annotated[
        str, typer.Argument(help="Sentence to speak. Without it, the command asks for one.")
    ] = "",
) -> None:
    """Make the video and print where the files are."""
    for path in demo(text or typer.prompt("Sentence", default=EXAMPLE)):
        typer.echo(path)


if __name__ == "__main__":
    run_command(command, "tasks.tools.demo", __doc__)
