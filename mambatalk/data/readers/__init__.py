"""Readers of a corpus: each takes a path or the bytes of one file and ends in plain arrays or one `UserError`."""

from mambatalk.data.readers.motion import Motion, read_motion
from mambatalk.data.readers.semantics import Semantic, read_semantics
from mambatalk.data.readers.split import read_split
from mambatalk.data.readers.textgrid import Interval, Tiers, read_textgrid
from mambatalk.data.readers.wav import Facts, read_wav

__all__ = ["Facts", "Interval", "Motion", "Semantic", "Tiers",
           "read_motion", "read_semantics", "read_split", "read_textgrid", "read_wav"]
