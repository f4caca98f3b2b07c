"""Networks on disk: weights as safetensors, sizes as JSON. Loading them runs no code.

Each kind of network has a `storage` module of its own that calls these functions, so that a stage
which needs one kind does not depend on the others.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from mambatalk.errors import InputError
from mambatalk.files import atomic_file, read_json, write_json

MAX_SIZE: Final = 10_000_000
"""Largest number that describes a network, far above any vocabulary."""
_LOADING_ERRORS: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)
Builders = Mapping[str, Callable[..., nn.Module]]
"""Constructors of networks by class name. They take the stored sizes as keyword arguments."""


def save_network(
    folder: str | Path, name: str, network: nn.Module, sizes: Mapping[str, Any]
) -> None:
    """Write NAME.safetensors and NAME.json.

    Args:
        folder: Where to write; it is created if needed.
        name: Name of both files.
        network: The network.
        sizes: Keyword arguments that build a network of the same shape.

    Raises:
        InputError: The folder cannot be written to.

    """
    folder = Path(folder)
    weights = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    with atomic_file(folder / f"{name}.safetensors") as temporary:
        save_file(weights, temporary)
    description = {"network": type(network).__name__, "sizes": dict(sizes)}
    write_json(folder / f"{name}.json", description)


def load_network(folder: str | Path, name: str, builders: Builders) -> Any:
    """Read a network that `save_network` wrote.

    Args:
        folder: Where both files are.
        name: Name of both files.
        builders: Constructors of the networks that are expected there.

    Returns:
        The network in evaluation mode, on the CPU, without gradients.

    Raises:
        InputError: A file is missing or damaged, or weights and sizes do not match.

    """
    weights = Path(folder) / f"{name}.safetensors"
    description = read_json(weights.with_suffix(".json"))
    try:
        tensors = load_file(weights)
        _check_sizes(description["sizes"], len(tensors))
        build = partial(builders[description["network"]], **description["sizes"])
        # Without memory first: wrong sizes could ask for more than there is.
        with torch.device("meta"):
            build().load_state_dict(tensors, assign=True)
        network = build()
        network.load_state_dict(tensors)
    except _LOADING_ERRORS as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            weights,
            f"expected the weights of the network in {name}.json,"
            f" found a file that does not load ({reason})",
            "run the stage that writes it again, or restore the file",
        ) from None
    return network.eval().requires_grad_(False)


def _check_sizes(sizes: Mapping[str, Any], tensors: int) -> None:
    """Refuse sizes that no file of so many tensors can have, before modules are made for them."""
    for name, value in sizes.items():
        limit = tensors if "layers" in name else MAX_SIZE
        if isinstance(value, int | float) and not abs(value) <= limit:
            raise ValueError(f"{name} is {value}, and at most {limit} is possible")
