"""Loading of the compiled loops."""

import logging
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from mambatalk.files import compile_lock

log = logging.getLogger(__name__)


def is_compiled(x: Tensor) -> bool:
    """Return whether layers with the input `x` run as compiled loops."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and is_available()


@cache
def is_available() -> bool:
    """Return whether the loops can be loaded.

    The first call in an environment compiles for some seconds, the first in a process takes one
    second. The loops cannot be loaded where numba is missing or has no folder for its cache.
    """
    try:
        loops()
    except (ImportError, OSError, RuntimeError) as error:
        # A stop signal within a compilation becomes an error of numba.
        if error.__context__ is not None and not isinstance(error.__context__, Exception):
            raise error.__context__ from None
        log.warning("numba cannot compile here, so training and synthesis are slower: %s", error)
        return False
    return True


@cache
def loops() -> ModuleType:
    """Import the loops, which compiles them or loads what an earlier process compiled."""
    with compile_lock():
        from mambatalk.models.mamba.compiled import loops
    return loops
