"""Single or half precision for the products of synthesis.

Half precision is what full-size networks are trained with on a GPU: bfloat16 for the network of a
window. A GPU encodes the audio in half precision as well, a CPU does not. Half precision reduces
the time of the network to two thirds on a CPU with instructions for bfloat16, and on a GPU to two
thirds for one clip and to two fifths for many. It changes 1 to 4 % of the codes of the sample's
model, and none of its metrics much; a trained model of full size has not been compared
(docs/experiments.md). Small networks stay in single precision, so that their motion does not depend
on the machine.
"""

import logging
from copy import deepcopy
from typing import Any, Final, Literal

import torch
from torch import nn

from mambatalk.models.generator.network import Generator

Precision = Literal["single", "half"]
SMALL_MODEL: Final = 20_000_000
"""Parameters of a generator below which half precision does not pay, and several threads wait for
each other longer than they work (docs/decisions.md). The sample's has 2 million, the paper's 199
million.
"""

GPU_AUDIO: Final = torch.float16
"""Half precision of the audio encoders on a GPU. It rounds as TF32 does, which convolutions have
there in single precision, and changes features a ninth as much as bfloat16. After batch norms no
value is near the largest number of float16.
"""

log = logging.getLogger(__name__)


def is_small(generator: nn.Module) -> bool:
    """Return whether a generator has too little work for half precision or several threads."""
    return sum(parameter.numel() for parameter in generator.parameters()) < SMALL_MODEL


def fastest_precision(generator: nn.Module) -> Precision:
    """Return the precision in which a generator computes fastest on its device; log if half."""
    device = next(generator.parameters()).device.type
    if is_small(generator) or not has_half_instructions(device):
        return "single"
    log.info("the generator computes in half precision, which is faster on this device")
    return "half"


def with_half_weights(generator: Generator) -> Generator:
    """Return a copy of the generator with the weights of its products in bfloat16.

    Autocast would round them again for every window; the results are the same to the last bit. All
    other weights are shared. The rounded ones take half of the originals' memory again, and later
    changes of the originals do not reach them.
    """
    shared = [generator.fusion, *generator.parameters(), *generator.buffers()]
    half = deepcopy(generator, {id(part): part for part in shared})
    for scan in (half.global_scan, half.local_scan):
        for path, module in scan.named_modules():
            for name in _product_weights(path, module):
                rounded = getattr(module, name).detach().bfloat16()
                setattr(module, name, nn.Parameter(rounded, requires_grad=False))
    return half


def _product_weights(path: str, module: nn.Module) -> list[str]:
    """Return the names of a module's parameters that enter a product."""
    if isinstance(module, nn.MultiheadAttention):
        return ["in_proj_weight", "in_proj_bias"]
    if not isinstance(module, nn.Linear):
        return []
    # The scan adds the bias of its step size in single precision.
    if module.bias is None or path.endswith("dt_proj"):
        return ["weight"]
    return ["weight", "bias"]


def has_half_instructions(device: str) -> bool:
    """Return whether a type of device multiplies in bfloat16; a CPU needs AVX-512 BF16 or AMX."""
    if device == "cuda":
        # Older GPUs emulate it, which is slower than single precision.
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Older releases of PyTorch lack the function; then single precision is used.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    supported = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return device == "cpu" and bool(supported)
