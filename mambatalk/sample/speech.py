"""Speech for the embedded sample: eSpeak NG through ctypes, with the exact time of every word and
phone.

eSpeak NG (GPL-3.0-or-later) comes with the optional extra `sample` and is loaded at run time only.
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

_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT = 2, 0x0001, 0x8000
_WORD, _PHONEME = 1, 7
_UTF8, _POSITION_CHARACTER = 1, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_EXPECTED_RATE: Final = 22_050
_close_library: Callable[[int], object] = getattr(
    _ctypes, "dlclose" if hasattr(_ctypes, "dlclose") else "FreeLibrary"
)
_WORD_BREAK: Final = " \u200b"
"""A zero-width space in front of a word keeps eSpeak from merging function words into one event."""


@dataclass(frozen=True)
class Voice:
    """How a speaker sounds."""

    name: str
    """eSpeak voice with variant, such as `en-us+m3`."""
    rate: int
    """Words a minute."""
    pitch: int
    """0 to 100."""


@dataclass(frozen=True)
class Phone:
    """One phone as eSpeak names it."""

    mnemonic: str
    """Without its stress marks."""
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
    rate: int
    words: tuple[Word, ...]


class _Mark(NamedTuple):
    kind: int
    sample: int
    position: int
    mnemonic: str


class _Event(ctypes.Structure):
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
    """Speak sentences one after the other; the same arguments give the same bits, whatever was
    spoken before.

    Args:
        sentences: Plain words separated by single blanks, without digits or symbols.
        voice: Who speaks.

    Raises:
        InputError: eSpeak NG is not installed, or does not know the voice.

    """
    with _fresh_library() as library:
        _set_voice(library, voice)
        return [_speak_one(library, sentence) for sentence in sentences]


@contextmanager
def _fresh_library() -> Iterator[Any]:
    """Load eSpeak anew: its static state outlives `espeak_Terminate` and would leak into the next
    clip.
    """
    try:
        import espeakng_loader
    except ImportError:
        raise InputError(
            "sample",
            "expected the extra `sample`, found no eSpeak NG",
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
                f"expected {_EXPECTED_RATE} Hz, found a start that returned {rate}",
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
            "voice", f"expected a voice of eSpeak NG, found {repr(voice.name)}", "choose another"
        )
    for parameter, value in ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, 60)):
        library.espeak_SetParameter(parameter, value, 0)


def _speak_one(library: Any, sentence: str) -> Utterance:
    chunks: list[bytes] = []
    events: list[_Mark] = []
    callback = _Callback(partial(_collect, chunks, events))
    library.espeak_SetSynthCallback(callback)
    spaced = sentence.replace(" ", _WORD_BREAK)
    text = spaced.encode() + b"\0"
    library.espeak_Synth(
        text, ctypes.c_size_t(len(text)), 0, _POSITION_CHARACTER, 0, _UTF8, None, None
    )
    library.espeak_Synchronize()
    samples = np.frombuffer(b"".join(chunks), np.int16).astype(np.float32) / np.float32(32768)
    return Utterance(samples, _EXPECTED_RATE, _words(spaced, events, len(samples)))


def _collect(chunks: list[bytes], events: list[_Mark], wave: Any, count: int, event: Any) -> int:
    if wave and count:
        chunks.append(ctypes.string_at(wave, 2 * count))
    k = 0
    while event[k].type != 0:
        if event[k].type in (_WORD, _PHONEME):
            mnemonic = (
                event[k].id.string.decode("ascii", "replace") if event[k].type == _PHONEME else ""
            )
            events.append(_Mark(event[k].type, event[k].sample, event[k].text_position, mnemonic))
        k += 1
    return 0


def _words(spaced: str, events: list[_Mark], samples: int) -> tuple[Word, ...]:
    """Group phones under the word whose event came last; a pause belongs to none."""
    words: list[tuple[str, list[Phone]]] = []
    ends = [mark.sample for mark in events[1:]] + [samples]
    for mark, end in zip(events, ends, strict=True):
        if mark.kind == _WORD:
            token = spaced[mark.position - 1 :].split(" ", 1)[0].strip("\u200b,.")
            words.append((token, []))
        elif words and not mark.mnemonic.startswith("_") and end > mark.sample:
            name = mark.mnemonic.lstrip("',%=")
            stress = 2 if "'" in mark.mnemonic else 1 if "," in mark.mnemonic else 0
            words[-1][1].append(
                Phone(name, stress, mark.sample / _EXPECTED_RATE, end / _EXPECTED_RATE)
            )
    return tuple(
        Word(text, phones[0].start, phones[-1].end, tuple(phones))
        for text, phones in words
        if phones
    )
