"""Decode several clips, each of its own length, in pieces of the same length.

One clip leaves most of a GPU idle. Decoders read few frames to either side, so pieces of all clips
can be decoded side by side if each includes these frames.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
import torch

from mambatalk.fidelity import FidelityRules
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.decoding import Codes, DecodedMotion, decode, decoder_reach

PIECE: Final = 256
"""Frames of a piece, without the neighbours that it is decoded with."""
PIECES_TOGETHER: Final = 256
"""Pieces that are decoded in one batch, which bounds the memory of the decoders."""


class _Piece(NamedTuple):
    """Frames of clips that lie end to end."""

    first: int
    """First frame that is kept."""
    last: int
    """Frame after the last one that is kept."""
    begin: int
    """First frame that is decoded."""
    length: int
    """Number of frames that are decoded."""


def decode_clips(bundle: Bundle, clips: Sequence[Codes], rules: FidelityRules) -> DecodedMotion:
    """Decode the codes of several clips, on a GPU side by side.

    Args:
        bundle: Bundle with the auto-encoders.
        clips: Codes (1, n) of each clip.
        rules: Published or corrected decoding.

    Returns:
        Motion (1, N) of all clips, end to end.

    """
    if clips[0]["upper"].is_cuda:
        return decode_in_pieces(bundle, clips, rules)
    decoded = [decode(bundle, codes, rules) for codes in clips]
    return DecodedMotion(*(torch.cat(arrays, dim=1) for arrays in zip(*decoded, strict=True)))


def decode_in_pieces(bundle: Bundle, clips: Sequence[Codes], rules: FidelityRules) -> DecodedMotion:
    """Decode the codes of several clips in pieces, side by side; arguments as in `decode_clips`.

    Returns:
        Motion (1, N) of all clips, end to end.

    """
    joined = {part: torch.cat([codes[part][0] for codes in clips]) for part in clips[0]}
    device = joined["upper"].device
    lengths = [codes["upper"].shape[1] for codes in clips]
    decoded = []
    frames = []
    for batch in _batches(_pieces(lengths, decoder_reach(bundle))):
        first, last, begin, _ = np.array(batch).T[:, :, None]
        rows = begin + np.arange(batch[0].length)
        index = torch.from_numpy(rows).to(device)
        motion = decode(bundle, {part: codes[index] for part, codes in joined.items()}, rules)
        decoded.append([array.flatten(0, 1) for array in motion])
        frames.append(np.where((first <= rows) & (rows < last), rows, -1).flatten())

    frame = np.concatenate(frames)
    kept = np.flatnonzero(frame >= 0)
    order = torch.from_numpy(kept[frame[kept].argsort()]).to(device)
    return DecodedMotion(*(torch.cat(arrays)[order][None] for arrays in zip(*decoded, strict=True)))


def _pieces(lengths: Sequence[int], reach: int) -> list[_Piece]:
    """Return the pieces of clips of some lengths.

    Args:
        lengths: Number of frames of each clip.
        reach: How many frames to either side affect a decoded frame.

    """
    pieces = []
    clip_begin = 0
    for length in lengths:
        clip_end = clip_begin + length
        for first in range(clip_begin, clip_end, PIECE):
            last = min(first + PIECE, clip_end)
            # The last piece begins earlier, so that it has the length of the first one.
            begin = max(clip_begin, min(first, clip_end - PIECE) - reach)
            end = min(last + reach, clip_end)
            pieces.append(_Piece(first, last, begin, end - begin))
        clip_begin = clip_end
    return pieces


def _batches(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Yield batches of pieces of the same length."""
    ordered = sorted(pieces, key=lambda piece: piece.length)
    for _, group in groupby(ordered, key=lambda piece: piece.length):
        same = list(group)
        for first in range(0, len(same), PIECES_TOGETHER):
            yield same[first : first + PIECES_TOGETHER]
