"""Phones: from the mnemonics of eSpeak NG to ARPAbet, the phone set of BEATX's TextGrids."""

from types import MappingProxyType
from typing import Final

from mambatalk.corpus.textgrid import Interval
from mambatalk.sample.espeak import Phone

_VOWELS: Final = MappingProxyType(
    {
        "a": "AE",
        "aa": "AE",
        "aI": "AY",
        "aI@": "AY",
        "aI3": "AY",
        "aU": "AW",
        "a#": "AH",
        "@": "AH",
        "@2": "AH",
        "@5": "AH",
        "@L": "AH",
        "0": "AA",
        "0#": "AA",
        "A:": "AA",
        "A@": "AA",
        "A#": "AA",
        "V": "AH",
        "E": "EH",
        "e@": "EH",
        "eI": "EY",
        "3": "ER",
        "3:": "ER",
        "I": "IH",
        "I#": "IH",
        "I2": "IH",
        "i@": "IH",
        "i@3": "IH",
        "i": "IY",
        "i:": "IY",
        "O": "AO",
        "O2": "AA",
        "O:": "AO",
        "O@": "AO",
        "o@": "AO",
        "oU": "OW",
        "oU#": "OW",
        "OI": "OY",
        "U": "UH",
        "U@": "UH",
        "u:": "UW",
        "u": "UW",
        "VR": "AH",
    }
)
_CONSONANTS: Final = MappingProxyType(
    {
        "b": "B",
        "d": "D",
        "dZ": "JH",
        "D": "DH",
        "f": "F",
        "g": "G",
        "h": "HH",
        "j": "Y",
        "k": "K",
        "l": "L",
        "L": "L",
        "m": "M",
        "n": "N",
        "n-": "N",
        "N": "NG",
        "p": "P",
        "r": "R",
        "r-": "R",
        "s": "S",
        "S": "SH",
        "t": "T",
        "t#": "T",
        "t2": "T",
        "tS": "CH",
        "T": "TH",
        "v": "V",
        "w": "W",
        "z": "Z",
        "Z": "ZH",
        ";": "Y",
        "?": "T",
    }
)
UNKNOWN_PHONE: Final = "spn"
"""Label for spoken noise, used for mnemonics without an ARPAbet equivalent."""


def is_vowel(phone: Phone) -> bool:
    """Return whether a phone is a vowel."""
    return phone.mnemonic in _VOWELS


def to_arpabet(phone: Phone) -> Interval:
    """Convert a phone to an interval with an ARPAbet label.

    ARPAbet writes the stress of a vowel as a digit: 1 primary, 2 secondary, 0 none.
    """
    vowel = _VOWELS.get(phone.mnemonic)
    if vowel is None:
        label = _CONSONANTS.get(phone.mnemonic, UNKNOWN_PHONE)
    else:
        label = f"{vowel}{(0, 2, 1)[phone.stress]}"
    return Interval(phone.start, phone.end, label)
