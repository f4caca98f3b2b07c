"""The FGD encoder on disk."""

from pathlib import Path

from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.models.storage import load_network, save_network

NAME = "fgd_encoder"


def save_fgd_encoder(folder: str | Path, network: FGDEncoder) -> None:
    """Write the encoder to a folder.

    Args:
        folder: Where to write; it is created if needed.
        network: The encoder.

    Raises:
        InputError: The folder cannot be written to.

    """
    save_network(folder, NAME, network, {"latent": network.latent, "source": network.source})


def load_fgd_encoder(folder: str | Path) -> FGDEncoder:
    """Read an encoder that `save_fgd_encoder` wrote; see `load_network`.

    Raises:
        InputError: A file is missing or damaged.

    """
    return load_network(folder, NAME, {"FGDEncoder": FGDEncoder})
