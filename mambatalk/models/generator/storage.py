"""The generator on disk."""

from dataclasses import asdict
from pathlib import Path

from mambatalk.models.generator.network import Generator, GeneratorConfig
from mambatalk.models.storage import load_network, save_network

NAME = "generator"


def save_generator(folder: str | Path, network: Generator) -> None:
    """Write the generator into a folder."""
    save_network(folder, NAME, network, asdict(network.config))


def load_generator(folder: str | Path) -> Generator:
    """Read the generator.

    Raises:
        InputError: A file is missing or broken.

    """
    return load_network(
        folder, NAME, {"Generator": lambda **sizes: Generator(GeneratorConfig(**sizes))}
    )
