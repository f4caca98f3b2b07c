"""The loops. Importing this package compiles them, or loads what an earlier process compiled.

Arrays are contiguous, with channels innermost. `load.loops` imports the package.
"""

from mambatalk.models.mamba.compiled.loops.dropout import (
    dropout,
    softmax_dropout,
    softmax_dropout_backward,
)
from mambatalk.models.mamba.compiled.loops.norm import norm_backward, norm_forward
from mambatalk.models.mamba.compiled.loops.scan import (
    conv_backward,
    conv_forward,
    scan_backward,
    scan_forward,
)

__all__ = [
    "conv_backward",
    "conv_forward",
    "dropout",
    "norm_backward",
    "norm_forward",
    "scan_backward",
    "scan_forward",
    "softmax_dropout",
    "softmax_dropout_backward",
]
