"""Our names for the arrays of published state dicts, in fixtures and in released checkpoints.

`translate` renames the arrays that our modules have, and gives a reason for every other one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mambatalk.errors import InputError

Kind = Literal["auto_encoder", "generator", "audio_encoder", "mamba", "fgd"]

_PARTS = "(face|upper|hands|lower)"
_CONV = ((r"\.main\.", "."), (r"\.model\.", "."))
_AUDIO = (
    (r"feat_extractor\.", "blocks."),
    (r"multi_scale\.", "branches."),
    (r"\.downsample\.", ".shortcut."),
    (r"(^|audio\.)out\.", r"\1projection."),
)
_MAMBA = ((r"norm_f\.", "norm."), (r"attention\.layers\.0\.", "attention."))
_GENERATOR = (
    (r"^text_pre_encoder_(face|body)\.", r"fusion.\1.embedding."),
    (r"^text_encoder_(face|body)\.", r"fusion.\1.word_projection."),
    (r"^audio_pre_encoder_(face|body)\.", r"fusion.\1.audio."),
    (r"^at_attn_(face|body)\.", r"fusion.\1.gate."),
    (r"^speaker_encoder_(face|body)\.", r"speaker.\1."),
    (r"^global_scan\.learnable_query$", "global_scan.query"),
    (r"^global_scan\.motion_proj1\.mlp\.", "global_scan.motion_mlp."),
    (r"^global_scan\.motion_proj2\.", "global_scan.motion_projection."),
    (r"^global_scan\.body_q_self_attn\.layers\.0\.", "global_scan.speaker_attention."),
    (r"^global_scan\.motion_self_encoder\.layers\.0\.", "global_scan.motion_attention."),
    (r"^global_scan\.face_scan\.", "global_scan.audio_scan."),
    (r"^global_scan\.body_scan\.", "global_scan.motion_scan."),
    (r"^local_scan\.motion_cross_attn\.", "local_scan.decoder."),
    (r"^local_scan\.body_proj\.", "local_scan.memory."),
    (rf"^local_scan\.motion2latent_{_PARTS}\.mlp\.", r"local_scan.part_mlp.\1."),
    (rf"^local_scan\.{_PARTS}_proj\.", r"local_scan.mix.\1."),
    (rf"^local_scan\.{_PARTS}_scan\.", r"local_scan.scan.\1."),
    (rf"^local_scan\.motion_down_{_PARTS}\.", r"local_scan.to_latent.\1."),
    (rf"^local_scan\.{_PARTS}_classifier\.mlp\.", r"local_scan.to_logits.\1."),
)
_FGD = (
    (r"^encoder\.layers\.(\d+)\.0\.residual\.0\.", r"blocks.\1.residual."),
    (r"^encoder\.layers\.(\d+)\.0\.residual\.1\.", r"blocks.\1.norm."),
    (r"^encoder\.layers\.(\d+)\.0\.shortcut\.", r"blocks.\1.shortcut."),
)
_RENAMES: Mapping[Kind, tuple[tuple[str, str], ...]] = {
    "auto_encoder": _CONV,
    "audio_encoder": _AUDIO,
    "mamba": _MAMBA,
    "generator": (*_GENERATOR, *_CONV, *_AUDIO, *_MAMBA),
    "fgd": _FGD,
}
_LEFT_OUT: Mapping[Kind, tuple[tuple[str, str], ...]] = {
    "auto_encoder": (),
    "audio_encoder": (),
    "mamba": (),
    "generator": (
        (
            r"^global_scan\.face_q_self_attn\.layers\.0\."
            r"(self_attn\.in_proj_|self_attn\.out_proj\.|linear[12]\.|norm[12]\.)(weight|bias)$",
            "its result is never used",
        ),
        (r"^(global|local)_scan\.position_embeddings\.pe$", "computed, the same for every model"),
    ),
    "fgd": (
        (r"^encoder\.layers\.[0-3]\.0\.(residual\.0|shortcut)\.mask$", "derived from the skeleton"),
        (r"^encoder\.layers\.[0-3]\.0\.common\.0\.weight$", "derived from the skeleton"),
        (r"^decoder\.", "FGD uses the encoder only"),
    ),
}


@dataclass(frozen=True)
class LeftOut:
    """A published array that our module does not have."""

    value: Tensor
    reason: str


@dataclass(frozen=True)
class Translation:
    """A published state dict under our names."""

    where: str
    """Path of the file, for error messages."""
    state: dict[str, Tensor]
    """Arrays by our name."""
    left_out: dict[str, LeftOut]
    """The other arrays by published key."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array by our name.

        Raises:
            InputError: There is no such array.

        """
        if name not in self.state:
            raise InputError(
                f"{self.where}: {name}",
                "expected a published state dict, found no such key",
                "check that the file is complete and that its name is right",
            )
        return tuple(self.state[name].shape)


def translate(published: Mapping[str, Tensor], kind: Kind, *, where: str) -> Translation:
    """Rename the arrays of a published state dict.

    The prefix `module.` of data-parallel training is removed.

    Args:
        published: Arrays by published key.
        kind: Network of the state dict.
        where: Path of the file, for error messages.

    Raises:
        InputError: Two keys name the same array.

    """
    state: dict[str, Tensor] = {}
    left_out: dict[str, LeftOut] = {}
    for key, value in published.items():
        name = key.removeprefix("module.")
        reasons = [reason for pattern, reason in _LEFT_OUT[kind] if re.search(pattern, name)]
        if reasons:
            _check_new(key, name, left_out, where)
            left_out[name] = LeftOut(value, reasons[0])
            continue
        for pattern, ours in _RENAMES[kind]:
            name = re.sub(pattern, ours, name)
        _check_new(key, name, state, where)
        state[name] = value
    return Translation(where, state, left_out)


def _check_new(key: str, name: str, known: Mapping[str, object], where: str) -> None:
    if name in known:
        raise InputError(
            f"{where}: {key}",
            f"expected one array for {name}, found a second one",
            "remove the key that does not belong to the network",
        )
