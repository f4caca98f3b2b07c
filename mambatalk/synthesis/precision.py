"""Single or half precision for the generator's products on a CPU.

Half precision is bfloat16, which full-size networks are trained with on a GPU. A CPU with
instructions for it takes two thirds of the time for the network of a window. It changes 1 to 4 % of
the codes of the sample's model, and none of its metrics much; a trained model of full size has not
been compared (docs/experiments.md). Small networks stay in single precision, so that their motion
does not depend on the processor; so do GPUs, where half precision gains nothing.
"""

import logging
from typing import Any, Final, Literal

import torch
from torch import nn

Precision = Literal["single", "half"]
SMALL_MODEL: Final = 20_000_000
"""Parameters of a generator below which half precision does not pay, and several threads wait for
each other longer than they work (docs/decisions.md). The sample's has 2 million, the paper's 199
million.
"""

log = logging.getLogger(__name__)


def is_small(generator: nn.Module) -> bool:
    """Return whether a generator has too little work for half precision or several threads."""
    return sum(parameter.numel() for parameter in generator.parameters()) < SMALL_MODEL


def fastest_precision(generator: nn.Module) -> Precision:
    """Return what a generator computes fastest with on its device, and log it."""
    on_cpu = next(generator.parameters()).device.type == "cpu"
    if not on_cpu or is_small(generator) or not has_half_instructions():
        return "single"
    log.info("the generator computes in half precision, for which this processor is fast")
    return "half"


def has_half_instructions() -> bool:
    """Return whether the processor multiplies in bfloat16: by AVX-512 BF16 or AMX."""
    # Older releases of PyTorch lack the function; then single precision is used.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
