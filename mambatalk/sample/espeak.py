"""Speech synthesis by eSpeak NG through ctypes, with the exact time of every word and phone.

eSpeak NG (GPL-3.0-or-later) is installed by the optional extra `sample` and loaded only when used.
"""

import _ctypes
import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mambatalk.errors import InputError

# Constants of espeak-ng/speak_lib.h.
_SYNCHRONOUS: Final = 2
_PHONEME_EVENTS: Final = 0x0001
_DONT_EXIT: Final = 0x8000
_WORD, _PHONEME = 1, 7
_UTF8: Final = 1
_POSITION_CHARACTER: Final = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_EXPECTED_RATE: Final = 22_050
_WORD_BREAK: Final = " \u200b"
"""Separator of words; the zero-width space keeps eSpeak from merging function words."""

# ctypes itself never unloads a library.
_close_library: Callable[[int], object] = getattr(
    _ctypes, "dlclose" if hasattr(_ctypes, "dlclose") else "FreeLibrary"
)


@dataclass(frozen=True)
class Voice:
    """The voice of a speaker."""

    name: str
    """Name of an eSpeak voice with its variant, such as `en-us+m3`."""
    rate: int
    """Words per minute."""
    pitch: int
    """0 to 100."""


@dataclass(frozen=True)
class Phone:
    """One phone of an utterance."""

    mnemonic: str
    """eSpeak's name of the phone, without stress marks."""
    stress: int
    """2 primary, 1 secondary, 0 none."""
    start: float
    """Seconds."""
    end: float
    """Seconds."""


@dataclass(frozen=True)
class Word:
    """One word and its phones."""

    text: str
    start: float
    """Seconds."""
    end: float
    """Seconds."""
    phones: tuple[Phone, ...]


@dataclass(frozen=True)
class Utterance:
    """One spoken sentence."""

    samples: NDArray[np.float32]
    """Waveform (S,), full scale 1."""
    rate: int
    """Samples per second."""
    words: tuple[Word, ...]


class _Mark(NamedTuple):
    """The start of a word or phone."""

    kind: int
    sample: int
    position: int
    mnemonic: str


class _Event(ctypes.Structure):
    """The C structure espeak_EVENT."""

    class _Id(ctypes.Union):
        _fields_ = (
            ("number", ctypes.c_int),
            ("name", ctypes.c_char_p),
            ("string", ctypes.c_char * 8),
        )

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def speak(sentences: Sequence[str], voice: Voice) -> list[Utterance]:
    """Speak sentences with one voice.

    The same arguments always give the same samples, independent of earlier calls.

    Args:
        sentences: Words separated by single spaces, without digits or symbols.
        voice: Voice of the speaker.

    Raises:
        InputError: eSpeak NG is not installed or does not have the voice.

    """
    with _fresh_library() as library:
        _set_voice(library, voice)
        return [_speak_one(library, sentence) for sentence in sentences]


@contextmanager
def _fresh_library() -> Iterator[Any]:
    """Load eSpeak NG and unload it at the end of the block.

    Its static variables survive `espeak_Terminate`, so that a library kept loaded would make the
    audio depend on what was spoken before.
    """
    try:
        import espeakng_loader
    except ImportError:
        raise InputError(
            "sample",
            "expected eSpeak NG, found no package espeakng_loader",
            "pip install 'mambatalk[sample]'",
        ) from None
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        rate = library.espeak_Initialize(
            _SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _PHONEME_EVENTS | _DONT_EXIT
        )
        if rate != _EXPECTED_RATE:
            raise InputError(
                "eSpeak NG",
                f"expected a sample rate of {_EXPECTED_RATE} Hz, found {rate}",
                "reinstall espeakng-loader==0.2.4",
            )
        yield library
        library.espeak_Terminate()
    finally:
        _close_library(library._handle)


def _set_voice(library: Any, voice: Voice) -> None:
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
        raise InputError(
            "voice",
            f"expected a voice of eSpeak NG, found {voice.name!r}",
            "choose another; `espeak-ng --voices` lists them",
        )
    for parameter, value in ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, 60)):
        library.espeak_SetParameter(parameter, value, 0)


def _speak_one(library: Any, sentence: str) -> Utterance:
    chunks: list[bytes] = []
    marks: list[_Mark] = []
    callback = _Callback(partial(_collect, chunks, marks))
    library.espeak_SetSynthCallback(callback)
    spaced = sentence.replace(" ", _WORD_BREAK)
    text = spaced.encode() + b"\0"
    library.espeak_Synth(
        text, ctypes.c_size_t(len(text)), 0, _POSITION_CHARACTER, 0, _UTF8, None, None
    )
    library.espeak_Synchronize()
    samples = np.frombuffer(b"".join(chunks), np.int16).astype(np.float32) / np.float32(32768)
    return Utterance(samples, _EXPECTED_RATE, _group_phones(spaced, marks, len(samples)))


def _collect(chunks: list[bytes], marks: list[_Mark], wave: Any, count: int, events: Any) -> int:
    """Collect 16-bit samples and events; eSpeak calls this for every chunk of audio."""
    if wave and count:
        chunks.append(ctypes.string_at(wave, 2 * count))
    # The list ends with an event of type 0.
    k = 0
    while events[k].type != 0:
        event = events[k]
        if event.type in (_WORD, _PHONEME):
            name = event.id.string.decode("ascii", "replace") if event.type == _PHONEME else ""
            marks.append(_Mark(event.type, event.sample, event.text_position, name))
        k += 1
    return 0


def _group_phones(spaced: str, marks: list[_Mark], samples: int) -> tuple[Word, ...]:
    """Group phones into words; each phone belongs to the last word that began before it.

    Pauses, whose mnemonics begin with an underscore, belong to no word.
    """
    words: list[tuple[str, list[Phone]]] = []
    ends = [mark.sample for mark in marks[1:]] + [samples]
    for mark, end in zip(marks, ends, strict=True):
        if mark.kind == _WORD:
            text = spaced[mark.position - 1 :].split(" ", 1)[0].strip("\u200b,.")
            words.append((text, []))
        elif words and not mark.mnemonic.startswith("_") and end > mark.sample:
            phones = words[-1][1]
            phones.append(_phone(mark, end))
    return tuple(
        Word(text, phones[0].start, phones[-1].end, tuple(phones))
        for text, phones in words
        if phones
    )


def _phone(mark: _Mark, end: int) -> Phone:
    """Return the phone of a mark; `'` marks primary stress and `,` secondary stress."""
    name = mark.mnemonic.lstrip("',%=")
    stress = 2 if "'" in mark.mnemonic else 1 if "," in mark.mnemonic else 0
    return Phone(name, stress, mark.sample / _EXPECTED_RATE, end / _EXPECTED_RATE)
