"""Accepted clips to what the networks read: motion channels, words by frame, sound, contacts,
labels.

Frames go to `frames-*.parquet`, one row group per clip; `clips.parquet` holds one row per clip.
Sound is stored once as FLAC and its channels are computed where they are used. Vocabulary and mean
joint speed come from the training clips alone in corrected fidelity; published takes the words of
all clips, test included.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from mambatalk.clips.shards import ShardWriter
from mambatalk.clips.store import ClipStore
from mambatalk.config import FeaturesConfig
from mambatalk.corpus.labels import emotion_label, speaker_indices
from mambatalk.executors import FailedItem, open_executor
from mambatalk.features.clip import FeatureJob, Piece, make_features
from mambatalk.features.schema import FEATURE_CLIP, FRAME
from mambatalk.features.splits import settle_splits
from mambatalk.fidelity import FidelityRules
from mambatalk.files import digest, sha256_file, write_json
from mambatalk.motion.body import Body
from mambatalk.motion.skeleton import JOINT_COUNT
from mambatalk.text.vocabulary import build_vocabulary, clean

FLOATS = ("motion", "expressions")
FEW_SECONDS = 1800.0
"""So little motion is done before processes that load torch have started."""


def build_features(
    store: ClipStore,
    accepted: Sequence[str],
    out: str | Path,
    *,
    body: Body,
    config: FeaturesConfig,
    rules: FidelityRules,
    workers: int = 1,
) -> None:
    """Write a features folder.

    Args:
        store: Clips as recorded.
        accepted: Ids of the clips to take, in order.
        out: An empty folder.
        body: For joints: contacts, floor, joint speeds.
        config: CTC model, share of validation, shard size.
        rules: Which words and labels to make.
        workers: Processes, where no cluster does the work; the result does not depend on it.

    Raises:
        InputError: A split has no clip.

    """
    out = Path(out)
    table = store.manifest.set_index("clip_id").loc[list(accepted)]
    splits, notes = settle_splits(
        table["split"].to_dict(), table["content"].to_dict(), config.validation_share
    )
    indices = speaker_indices(table["speaker"])
    vocabulary = build_vocabulary(_marks(store, splits, rules), rules=rules)
    jobs = _jobs(store, splits, vocabulary, body, config, rules)
    few = table["motion_seconds"].sum() <= FEW_SECONDS
    with open_executor(1 if few else workers) as executor, _Folder(out, config) as folder:
        for clip_id, made in zip(splits, executor.map(make_features, jobs), strict=True):
            if isinstance(made, FailedItem):
                notes.append(f"{clip_id} is left out: {made.reason}")
                continue
            facts = table.loc[clip_id]
            labels = {
                "speaker": facts["speaker"],
                "speaker_index": indices[facts["speaker"]],
                "emotion": emotion_label(facts["recording_type"], facts["start"], rules=rules),
            }
            for piece in made:
                folder.add(piece, labels)
    np.save(out / "mean_velocity.npy", folder.mean_speed())
    write_json(out / "vocabulary.json", vocabulary)
    write_json(
        out / "features.json",
        {
            "clips": folder.splits.total(),
            "frames": folder.frames,
            "words": len(vocabulary),
            "splits": dict(sorted(folder.splits.items())),
            "speakers": {str(speaker): index for speaker, index in indices.items()},
            "notes": notes,
            "body": body.kind,
            "digest": digest([sha256_file(path) for path in sorted(out.glob("*.parquet"))]),
        },
    )


def _jobs(
    store: ClipStore,
    splits: Mapping[str, str],
    vocabulary: Mapping[str, int],
    body: Body,
    config: FeaturesConfig,
    rules: FidelityRules,
) -> Iterator[FeatureJob]:
    cut = None if "val" in splits.values() else config.validation_share
    for clip_id, split in splits.items():
        shard, row_group = store.place(clip_id)
        clip = store.columns(clip_id, ["betas", "words"])
        betas = clip["betas"].combine_chunks().flatten().to_numpy()
        marks = set(_texts(clip))
        yield FeatureJob(
            shard=shard.resolve(),
            row_group=row_group,
            split=split,
            cut=cut if split == "train" else None,
            rest=body.rest_joints(torch.tensor(betas)).numpy(),
            ctc_model=config.ctc_model,
            rules=rules,
            words={
                word: vocabulary[word]
                for word in marks | set(map(clean, marks))
                if word in vocabulary
            },
        )


def _marks(store: ClipStore, splits: Mapping[str, str], rules: FidelityRules) -> Iterator[str]:
    wanted = [
        clip
        for clip, split in splits.items()
        if not rules.training_vocabulary or split in ("train", "additional")
    ]
    for clip_id in wanted:
        yield from _texts(store.columns(clip_id, ["words"]))


def _texts(clip: pa.Table) -> list[str]:
    """What the intervals of a clip say; nothing where it has no text."""
    texts: list[str] = clip["words"].combine_chunks().flatten().field("text").to_pylist()
    return texts


class _Folder:
    """The Parquet files of a features folder, and what is counted while they are written."""

    def __init__(self, folder: Path, config: FeaturesConfig) -> None:
        self._folder, self._size = folder, config.clips_per_shard
        self._clips = ShardWriter(folder / "clips.parquet", FEATURE_CLIP)
        self._frames = self._shard(0)
        self._speed, self._steps = np.zeros(JOINT_COUNT), 0
        self.splits: Counter[str] = Counter()
        self.frames = 0

    def __enter__(self) -> "_Folder":
        return self

    def __exit__(self, *_: object) -> None:
        self._frames.close()
        self._clips.close()

    def add(self, piece: Piece, labels: Mapping[str, Any]) -> None:
        """Write one clip, and one row group of frames."""
        shard, row_group = divmod(self.splits.total(), self._size)
        if row_group == 0:
            self._frames.close()
            self._frames = self._shard(shard)
        self._frames.add(piece.frames)
        place = {"split": piece.split, "shard": self._frames.path.name, "row_group": row_group}
        self._clips.add(pa.Table.from_pylist([{**piece.row, **labels, **place}], FEATURE_CLIP))
        self.splits[piece.split] += 1
        self.frames += piece.row["frames"]
        if piece.split == "train":
            self._speed += piece.speed
            self._steps += piece.steps

    def mean_speed(self) -> NDArray[np.float32]:
        """Mean speed (55,) of each joint in metres a second, frame by frame, over all training
        clips.
        """
        return (self._speed / max(1, self._steps)).astype(np.float32)

    def _shard(self, number: int) -> ShardWriter:
        return ShardWriter(
            self._folder / f"frames-{number:05d}.parquet", FRAME, floats=FLOATS, dictionary=["word"]
        )
