"""Import of the published FGD encoder.

A module of its own, so that the stage that imports the encoder does not depend on other networks.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

from mambatalk.files import sha256_file
from mambatalk.models.fgd.network import BoneBlock, FGDEncoder
from mambatalk.motion.skeleton import PARENTS
from mambatalk.published.checkpoints import read_checkpoint
from mambatalk.published.keymap import Translation, translate
from mambatalk.published.loading import (
    CHECK_FILE,
    check_derived,
    load_translated,
    shape_errors_as_input_errors,
)


def build_fgd_encoder(translation: Translation, parents: Iterable[int] = PARENTS) -> FGDEncoder:
    """Build the FGD encoder.

    Args:
        translation: The published state dict.
        parents: Parent of each joint, -1 for the root.

    Raises:
        InputError: An array is missing or has another shape, or the masks and the pooling that the
            file stores are not those of the skeleton.

    """
    latent = translation.shape("blocks.3.residual.bias")[0]
    encoder = load_translated(FGDEncoder(latent, tuple(parents)), translation)
    derived = {}
    for layer, block in enumerate(cast(Iterable[BoneBlock], encoder.blocks)):
        prefix = f"encoder.layers.{layer}.0"
        for name, conv in (("residual.0", block.residual), ("shortcut", block.shortcut)):
            derived[f"{prefix}.{name}.mask"] = conv.mask.expand_as(conv.weight)
        derived[f"{prefix}.common.0.weight"] = block.pooling
    check_derived(translation, derived)
    return encoder


def import_fgd_encoder(path: Path) -> FGDEncoder:
    """Read the published FGD encoder from its checkpoint.

    Raises:
        InputError: The file is missing, damaged, or not this encoder.

    """
    translation = translate(read_checkpoint(path), "fgd", where=str(path))
    with shape_errors_as_input_errors(path, expected="the FGD encoder", hint=CHECK_FILE):
        encoder = build_fgd_encoder(translation)
    encoder.source = sha256_file(path)
    return encoder
