"""The published FGD encoder out of its checkpoint, by itself: a stage that needs it depends on no
other network.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

from mambatalk.models.fgd.network import BoneBlock, FGDEncoder
from mambatalk.motion.skeleton import PARENTS
from mambatalk.published.checkpoints import read_checkpoint
from mambatalk.published.filling import check_derived, fill, refusing_misfits
from mambatalk.published.keymap import Translation, translate


def build_fgd_encoder(translation: Translation, parents: Iterable[int] = PARENTS) -> FGDEncoder:
    """The FGD encoder; what the published file stores of the skeleton must be what we derive from
    it.
    """
    encoder = fill(
        FGDEncoder(translation.shape("blocks.3.residual.bias")[0], tuple(parents)), translation
    )
    derived = {}
    for k, block in enumerate(cast(Iterable[BoneBlock], encoder.blocks)):
        for name, conv in (("residual.0", block.residual), ("shortcut", block.shortcut)):
            derived[f"encoder.layers.{k}.0.{name}.mask"] = conv.mask.expand_as(conv.weight)
        derived[f"encoder.layers.{k}.0.common.0.weight"] = block.pooling
    check_derived(translation, derived)
    return encoder


def import_fgd_encoder(path: Path) -> FGDEncoder:
    """The published FGD encoder alone.

    Raises:
        InputError: The file is missing, broken or not the encoder.

    """
    translation = translate(read_checkpoint(path), "fgd", where=str(path))
    with refusing_misfits(
        path, expected="the FGD encoder", do="check that this is the file that its name says"
    ):
        encoder = build_fgd_encoder(translation)
    return encoder
