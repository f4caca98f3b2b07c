"""Which clip trains, validates and tests, where a corpus leaves that open."""

from collections.abc import Iterator, Mapping

from mambatalk.clips.row import Clip
from mambatalk.errors import InputError


def settle_splits(
    splits: Mapping[str, str], contents: Mapping[str, str], share: float
) -> tuple[dict[str, str], list[str]]:
    """Splits of all clips, with validation carved from training where the corpus has none, and a
    note that says so.

    Which clips are carved follows from their content, so that it stays when others come or go. A
    single training clip is not touched here: `build_features` gives its end to validation.

    Raises:
        InputError: Training or test is empty.

    """
    settled, notes = dict(splits), []
    train = sorted(
        (clip for clip, split in settled.items() if split == "train"),
        key=lambda clip: contents[clip],
    )
    if "val" not in settled.values() and len(train) > 1:
        carved = train[: max(1, round(share * len(train)))]
        settled |= dict.fromkeys(carved, "val")
        notes.append(
            f"the corpus marks no validation clip: {len(carved)} of {len(train)} carved from train"
        )
    elif "val" not in settled.values():
        notes.append(
            f"the corpus marks no validation clip: the last {share:.0%} of its one training clip stand in"
        )
    for split in ("train", "test"):
        if split not in settled.values():
            raise InputError(
                "accepted clips",
                f"expected at least one, found none in split {split}",
                "check train_test_split.csv and what check_clips left out",
            )
    return settled, notes


def pieces(clip: Clip, split: str, *, validation_share: float | None) -> Iterator[tuple[Clip, str]]:
    """The clip with its split; with a share, its beginning for training and so much of its end for
    validation.
    """
    if validation_share is None:
        yield clip, split
        return
    border = round(len(clip.motion) * (1 - validation_share))
    yield clip.cut(0, border), "train"
    yield clip.cut(border, len(clip.motion), suffix="-end"), "val"
