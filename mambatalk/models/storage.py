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
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mambatalk.errors import InputError
from mambatalk.files import atomic_file, read_json, write_json

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
_CHANGES: Final = (Tensor.copy_, Tensor.div_, Tensor.mul_, Tensor.normal_, Tensor.uniform_)
"""How modules change their initial weights, beside the functions of `torch.nn.init`."""
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
        _check_sizes(description["sizes"], tensors)
        build = partial(builders[description["network"]], **description["sizes"])
        with _WithoutInitialWeights():
            network = build()
        # Copies, because the tensors of the file are mapped, and not aligned.
        network.load_state_dict({key: value.clone() for key, value in tensors.items()}, assign=True)
        network.float()
    except _LOADING_ERRORS as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            weights,
            f"expected the weights of the network in {name}.json,"
            f" found a file that does not load ({reason})",
            "run the stage that writes it again, or restore the file",
        ) from None
    return network.eval().requires_grad_(False)


class _WithoutInitialWeights(TorchFunctionMode):
    """Builds modules whose weights have no memory, for weights that are then assigned.

    At full size initial weights take three seconds to draw. Under `torch.device("meta")` nothing is
    drawn, but PyTorch imports its compiler, which takes more than one second, and buffers that are
    in no file have no values.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of PyTorch, unless it only sets a weight that has no memory."""
        kwargs = kwargs or {}
        if func in _CHANGES or getattr(func, "__module__", None) == nn.init.__name__:
            weight = args[0] if args else kwargs["tensor"]
            if weight.is_meta:
                return weight
        if func is torch.empty:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


def _check_sizes(sizes: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse sizes that the file cannot have, before modules are made for them.

    There are at most as many layers as tensors, and no more channels, words or heads than the
    longest axis of a tensor. Codes may be combinations of stored vectors, but there are no more of
    them than numbers in the file.
    """
    longest = max(max(tensor.shape, default=0) for tensor in tensors.values())
    numbers = sum(tensor.numel() for tensor in tensors.values())
    for name, value in sizes.items():
        limit = longest
        if "layers" in name:
            limit = len(tensors)
        elif name == "codebook_size":
            limit = numbers
        if isinstance(value, int | float) and not abs(value) <= limit:
            raise ValueError(f"{name} is {value}, and at most {limit} is possible")
