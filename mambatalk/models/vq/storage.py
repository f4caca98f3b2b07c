"""Motion auto-encoders on disk."""

from pathlib import Path
from typing import Any

from mambatalk.models.storage import load_network, save_network
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder


def save_auto_encoder(folder: str | Path, name: str, network: VQVAE | AutoEncoder) -> None:
    """Write one auto-encoder to NAME.safetensors and NAME.json in a folder.

    Args:
        folder: Where to write; it is created if needed.
        name: Name of both files.
        network: The auto-encoder.

    Raises:
        InputError: The folder cannot be written to.

    """
    first = network.encoder[0]
    arguments: dict[str, Any] = {
        "dim": first.in_channels,
        "width": first.out_channels,
        # Each layer of the encoder is three modules.
        "layers": len(network.encoder) // 3,
        "borders": network.borders,
    }
    if isinstance(network, VQVAE):
        arguments["codebook_size"] = network.quantizer.size
        # Without it the codebook is learned, as in all files of earlier versions.
        if network.quantizer.kind != "learned":
            arguments["quantizer"] = network.quantizer.kind
    save_network(folder, name, network, arguments)


def load_auto_encoder(folder: str | Path, name: str) -> Any:
    """Read one auto-encoder that `save_auto_encoder` wrote.

    Args:
        folder: Where both files are.
        name: Name of both files.

    Returns:
        A `VQVAE`, or for the global-motion net an `AutoEncoder`; see `load_network`.

    Raises:
        InputError: A file is missing or damaged.

    """
    return load_network(folder, name, {"VQVAE": VQVAE, "AutoEncoder": AutoEncoder})
