"""The readers of a clip's four files. Each ends in a clean read or in one `InputError`; none
unpickles anything.
"""

from mambatalk.corpus.semantics import Semantic, read_semantics
from mambatalk.corpus.textgrid import Interval, Tiers, read_textgrid
from mambatalk.corpus.wave import Facts, read_wav

__all__ = [
    "Facts",
    "Interval",
    "Semantic",
    "Tiers",
    "read_semantics",
    "read_textgrid",
    "read_wav",
]
