"""Networks on disk: weights as safetensors, sizes as JSON beside them. Nothing in either can run.

Each kind of network has its own `storing_*` module, so that a stage that needs one kind depends on
no other.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from mambatalk.errors import InputError
from mambatalk.files import atomic_file, read_json, write_json

Builders = Mapping[str, Callable[..., nn.Module]]
"""How to build each kind of network, by the name of its class, from its sizes as keywords."""


def save_network(
    folder: str | Path, name: str, network: nn.Module, sizes: Mapping[str, Any]
) -> None:
    """Write NAME.safetensors and NAME.json into a folder; `sizes` is what it takes to build one of
    the same shape.
    """
    weights = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    with atomic_file(Path(folder) / f"{name}.safetensors") as temporary:
        save_file(weights, temporary)
    write_json(
        Path(folder) / f"{name}.json", {"network": type(network).__name__, "sizes": dict(sizes)}
    )


def load_network(folder: str | Path, name: str, builders: Builders) -> Any:
    """Read what `save_network` wrote, in evaluation mode, on the CPU, without gradients.

    Raises:
        InputError: A file is missing or broken, or weights and sizes do not fit.

    """
    weights = Path(folder) / f"{name}.safetensors"
    description = read_json(weights.with_suffix(".json"))
    try:
        network = builders[description["network"]](**description["sizes"])
        network.load_state_dict(load_file(weights))
    except (SafetensorError, OSError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            weights,
            "expected what the JSON beside it describes,"
            f" found weights that do not load ({str(error).splitlines()[0]})",
            "make the file again",
        ) from None
    return network.eval().requires_grad_(False)
