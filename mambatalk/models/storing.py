"""Networks on disk: weights as safetensors, sizes as JSON beside them. Nothing in either can run."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from mambatalk.errors import UserError
from mambatalk.files import atomic_file, read_json, write_json
from mambatalk.models.fgd import FGDEncoder
from mambatalk.models.generator import Generator, GeneratorConfig
from mambatalk.models.vqvae import VQVAE, AutoEncoder


def save_network(folder: str | Path, name: str, network: nn.Module) -> None:
    """Write NAME.safetensors and NAME.json into a folder."""
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with atomic_file(Path(folder) / f"{name}.safetensors") as temporary:
        save_file(weights, temporary)
    write_json(Path(folder) / f"{name}.json", {"network": type(network).__name__, "sizes": sizes_of(network)})


def load_network(folder: str | Path, name: str) -> nn.Module:
    """Read what `save_network` wrote, in evaluation mode, on the CPU, without gradients.

    Raises:
        UserError: A file is missing or broken, or weights and sizes do not fit.

    """
    weights = Path(folder) / f"{name}.safetensors"
    description = read_json(weights.with_suffix(".json"))
    try:
        network = _NETWORKS[description["network"]](description["sizes"])
        network.load_state_dict(load_file(weights))
    except (SafetensorError, OSError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(weights, found=f"weights that do not load ({str(error).splitlines()[0]})",
                        expected="what the JSON beside it describes", do="make the file again") from None
    return network.eval().requires_grad_(False)


def sizes_of(network: nn.Module) -> dict[str, Any]:
    """What it takes to build a network of the same shape."""
    if isinstance(network, Generator):
        return asdict(network.config)
    if isinstance(network, FGDEncoder):
        return {"latent": network.latent}
    assert isinstance(network, VQVAE | AutoEncoder)
    first = network.encoder[0]
    sizes = {"dim": first.in_channels, "width": first.out_channels, "layers": len(network.encoder) // 3}
    if isinstance(network, VQVAE):
        sizes["codebook_size"] = network.quantizer.embedding.num_embeddings
    return sizes


_NETWORKS = {
    "VQVAE": lambda sizes: VQVAE(**sizes),
    "AutoEncoder": lambda sizes: AutoEncoder(**sizes),
    "Generator": lambda sizes: Generator(GeneratorConfig(**sizes)),
    "FGDEncoder": lambda sizes: FGDEncoder(**sizes),
}
