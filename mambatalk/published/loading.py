"""Loading published arrays into our modules: every name and every shape must match."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from mambatalk.errors import InputError
from mambatalk.published.keymap import Translation

Module = TypeVar("Module", bound=nn.Module)

CHECK_FILE: Final = "check that the file is complete and that its name is right"


@contextmanager
def shape_errors_as_input_errors(where: object, *, expected: str, hint: str) -> Iterator[None]:
    """Report errors of torch and Python that arrays of the wrong shape cause as bad input.

    Raises:
        InputError: In place of such an error, which becomes its cause.

    """
    try:
        yield
    except InputError:  # A subclass of ValueError that already describes the fault.
        raise
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = next(iter(str(error).splitlines()), "")[:120]
        raise InputError(
            where,
            f"expected {expected},"
            f" found arrays that do not fit each other ({type(error).__name__}: {reason})",
            hint,
        ) from error


def load_translated(module: Module, translation: Translation) -> Module:
    """Load a translated state dict into a module, and prepare the module for inference.

    Raises:
        InputError: A name or a shape differs.

    """
    ours = module.state_dict()
    for name in sorted(ours.keys() | translation.state.keys()):
        expected = _describe(ours.get(name))
        found = _describe(translation.state.get(name))
        if expected != found:
            raise InputError(
                f"{translation.where}: {name}", f"expected {expected}, found {found}", CHECK_FILE
            )
    module.load_state_dict(translation.state, assign=True)
    return module.eval().requires_grad_(False)


def _describe(value: Tensor | None) -> str:
    if value is None:
        return "no such key"
    dtype = "" if value.is_floating_point() else f" of {value.dtype}"
    return f"shape {tuple(value.shape)}{dtype}"


def check_derived(translation: Translation, derived: Mapping[str, Tensor]) -> None:
    """Compare arrays that the published file stores with the values that we compute.

    Args:
        translation: The published state dict.
        derived: Our values by published key. Keys that the file does not hold are skipped.

    Raises:
        InputError: A stored array differs.

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
                "expected the published values, found other values than those we compute",
                "check that the file belongs to this network",
            )
