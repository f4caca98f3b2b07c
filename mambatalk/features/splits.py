"""Splits of the clips, with a validation split where the corpus has none."""

from collections.abc import Iterator, Mapping
from typing import Final

from mambatalk.clips.row import Clip
from mambatalk.errors import InputError

REQUIRED_SPLITS: Final = ("train", "test")


def complete_splits(
    splits: Mapping[str, str], contents: Mapping[str, str], validation_share: float
) -> tuple[dict[str, str], list[str]]:
    """Move training clips to the validation split if the corpus has no validation clip.

    The clips are chosen by their content, so that the choice is stable when clips are added or
    removed. If there is only one training clip, it stays whole here and `split_clip` cuts it.

    Args:
        splits: Split by clip id.
        contents: Digest of a clip's files by clip id.
        validation_share: Share of the training clips to move, 0 to 1.

    Returns:
        Split by clip id, and notes for the reader.

    Raises:
        InputError: The training or test split is empty.

    """
    completed = dict(splits)
    notes = []
    if "val" not in completed.values():
        training = [clip_id for clip_id, split in completed.items() if split == "train"]
        training.sort(key=lambda clip_id: contents[clip_id])
        if len(training) > 1:
            moved = training[: max(1, round(validation_share * len(training)))]
            completed |= dict.fromkeys(moved, "val")
            notes.append(
                f"the corpus has no validation split: {len(moved)} of {len(training)} training "
                "clips are used for validation"
            )
        else:
            notes.append(
                f"the corpus has no validation split: the last {validation_share:.0%} of the only "
                "training clip is used for validation"
            )

    for split in REQUIRED_SPLITS:
        if split not in completed.values():
            raise InputError(
                "accepted clips",
                f"expected at least one clip in split {split}, found none",
                "check train_test_split.csv and the clips that check_clips quarantined",
            )
    return completed, notes


def split_clip(
    clip: Clip, split: str, *, validation_share: float | None
) -> Iterator[tuple[Clip, str]]:
    """Yield a clip with its split, or its two parts for training and validation.

    Args:
        clip: The clip.
        split: Its split.
        validation_share: Share at the end of the clip to use for validation. If None, the clip is
            not cut.

    """
    if validation_share is None:
        yield clip, split
        return
    frames = len(clip.motion)
    border = round(frames * (1 - validation_share))
    yield clip.cut(0, border), "train"
    yield clip.cut(border, frames, suffix="-end"), "val"
