"""The readers of a clip's four files. Each ends in a clean read or in one `UserError`; none
unpickles anything.
"""

from mambatalk.data.readers_motion import Motion, read_motion
from mambatalk.data.readers_semantics import Semantic, read_semantics
from mambatalk.data.readers_textgrid import Interval, Tiers, read_textgrid
from mambatalk.data.readers_wave import Facts, read_wav

__all__ = [
    "Facts",
    "Interval",
    "Motion",
    "Semantic",
    "Tiers",
    "read_motion",
    "read_semantics",
    "read_textgrid",
    "read_wav",
]
