"""Filling our modules with published arrays: every name and shape must fit, and what is derived
must agree.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from mambatalk.errors import InputError
from mambatalk.published.keymap import Translation

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def refusing_misfits(where: object, *, expected: str, do: str) -> Iterator[None]:
    """Tell in one line whatever arrays that fit no network do to one; the error itself stays the
    cause.

    Raises:
        InputError: In place of the errors of torch and Python.

    """
    try:
        yield
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        why = next(iter(str(error).splitlines()), "")[:120]
        raise InputError(
            where,
            f"expected {expected},"
            f" found arrays that do not fit each other ({type(error).__name__}: {why})",
            do,
        ) from error


def fill(module: Module, translation: Translation) -> Module:
    """Load a translated state dict into a module of its very names and shapes, and settle it for
    inference.

    Raises:
        InputError: A name or a shape differs.

    """
    ours = module.state_dict()
    for name in sorted(ours.keys() | translation.state.keys()):
        here, there = ours.get(name), translation.state.get(name)
        if here is None or there is None or _kind(here) != _kind(there):
            raise InputError(
                f"{translation.where}: {name}",
                f"expected {_kind(here)}, found {_kind(there)}",
                "check that this is the file that the name says, and whole",
            )
    module.load_state_dict(translation.state, assign=True)
    return module.eval().requires_grad_(False)


def _kind(value: Tensor | None) -> str:
    if value is None:
        return "no such key"
    return f"shape {tuple(value.shape)}" + (
        "" if value.is_floating_point() else f" of {value.dtype}"
    )


def check_derived(translation: Translation, derived: Mapping[str, Tensor]) -> None:
    """Hold what the published file stores, and we derive, against ours.

    Raises:
        InputError: The two differ.

    """
    for key, ours in derived.items():
        stored = translation.left_out.get(key)
        if stored is None:
            continue
        theirs = stored.value
        if (
            theirs.shape != ours.shape
            or theirs.is_complex()
            or not torch.allclose(theirs.to(ours.dtype), ours, rtol=0, atol=1e-5)
        ):
            raise InputError(
                f"{translation.where}: {key}",
                "expected the published ones, found other values than those we compute",
                "check that the file belongs to this network",
            )
