"""Storage of generators."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mambatalk.models.generator.network import Generator, GeneratorConfig
from mambatalk.models.storage import load_network, save_network

NAME = "generator"


def save_generator(folder: str | Path, network: Generator) -> None:
    """Write the weights and the sizes of a generator.

    Args:
        folder: Where to write generator.safetensors and generator.json.
        network: The generator.

    Raises:
        InputError: The folder cannot be written to.

    """
    save_network(folder, NAME, network, asdict(network.config))


def load_generator(folder: str | Path) -> Generator:
    """Read a generator that `save_generator` wrote.

    Args:
        folder: Where generator.safetensors and generator.json are.

    Returns:
        The generator in evaluation mode, on the CPU, without gradients.

    Raises:
        InputError: A file is missing or damaged.

    """
    return load_network(folder, NAME, {"Generator": _build})


def _build(**sizes: Any) -> Generator:
    return Generator(GeneratorConfig(**sizes))
