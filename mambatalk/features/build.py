"""Build the features: motion channels, words per frame, audio, foot contacts and labels.

`frames-*.parquet` has one row group of frames per clip, and `clips.parquet` one row per clip. Audio
is stored once as FLAC; its channels are computed where they are used. In corrected fidelity, the
vocabulary comes from the training clips alone. In published fidelity it contains the words of all
clips, including the test clips.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from mambatalk.clips.shards import ShardWriter
from mambatalk.clips.store import ClipStore
from mambatalk.config import FeaturesConfig
from mambatalk.corpus.labels import emotion_label, speaker_indices
from mambatalk.executors import FailedItem, open_executor
from mambatalk.features.clip import ClipFeatures, FeatureJob, extract_features
from mambatalk.features.schema import FEATURE_CLIP, FRAME
from mambatalk.features.splits import complete_splits
from mambatalk.fidelity import FidelityRules
from mambatalk.files import digest, sha256_file, write_json
from mambatalk.motion.body import Body
from mambatalk.motion.skeleton import JOINT_COUNT
from mambatalk.text.vocabulary import build_vocabulary, clean

FLOAT_COLUMNS: Final = ("motion", "expressions")
MAX_INLINE_SECONDS: Final = 1800.0
"""Up to this much motion, one process is faster than starting several that import torch."""


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
        accepted: Ids of the clips to use, in order.
        out: An empty folder.
        body: Body model for the joints, from which contacts, floor height and speeds are computed.
        config: CTC model, validation share and shard size.
        rules: Published or corrected vocabulary and labels.
        workers: Number of processes unless a cluster is configured. The result does not depend on
            it.

    Raises:
        InputError: The training or test split is empty, or the CTC model cannot be loaded.

    """
    out = Path(out)
    table = store.manifest.set_index("clip_id").loc[list(accepted)]
    splits, notes = complete_splits(
        table["split"].to_dict(), table["content"].to_dict(), config.validation_share
    )
    indices = speaker_indices(table["speaker"])
    vocabulary = build_vocabulary(_vocabulary_words(store, splits, rules), rules=rules)
    jobs = _jobs(store, splits, vocabulary, body, config, rules)

    if table["motion_seconds"].sum() <= MAX_INLINE_SECONDS:
        workers = 1
    with open_executor(workers) as executor, _FeatureWriter(out, config) as writer:
        results = executor.map(extract_features, jobs)
        for clip_id, result in zip(splits, results, strict=True):
            if isinstance(result, FailedItem):
                notes.append(f"{clip_id} is left out: {result.reason}")
                continue
            row = table.loc[clip_id]
            emotion = emotion_label(row["recording_type"], row["start"], rules=rules)
            labels = {
                "speaker": row["speaker"],
                "speaker_index": indices[row["speaker"]],
                "emotion": emotion,
            }
            for features in result:
                writer.add(features, labels)

    np.save(out / "mean_velocity.npy", writer.mean_joint_speed())
    write_json(out / "vocabulary.json", vocabulary)
    summary = {
        "clips": writer.clips_per_split.total(),
        "frames": writer.frames,
        "words": len(vocabulary),
        "splits": dict(sorted(writer.clips_per_split.items())),
        "speakers": {str(speaker): index for speaker, index in indices.items()},
        "notes": notes,
        "body": body.kind,
        "digest": digest([sha256_file(path) for path in sorted(out.glob("*.parquet"))]),
    }
    write_json(out / "features.json", summary)


def _jobs(
    store: ClipStore,
    splits: Mapping[str, str],
    vocabulary: Mapping[str, int],
    body: Body,
    config: FeaturesConfig,
    rules: FidelityRules,
) -> Iterator[FeatureJob]:
    # Without a validation clip the end of the only training clip is used.
    has_validation = "val" in splits.values()
    for clip_id, split in splits.items():
        shard, row_group = store.place(clip_id)
        clip = store.columns(clip_id, ["betas", "words"])
        betas = clip["betas"].combine_chunks().flatten().to_numpy()
        texts = set(_texts(clip))
        words = texts | {clean(text) for text in texts}
        yield FeatureJob(
            shard=shard.resolve(),
            row_group=row_group,
            split=split,
            validation_share=(
                config.validation_share if split == "train" and not has_validation else None
            ),
            rest=body.rest_joints(torch.tensor(betas)).numpy(),
            vocabulary={word: vocabulary[word] for word in words if word in vocabulary},
            ctc_model=config.ctc_model,
            rules=rules,
        )


def _vocabulary_words(
    store: ClipStore, splits: Mapping[str, str], rules: FidelityRules
) -> Iterator[str]:
    """Yield the words of the clips that the vocabulary is built from."""
    for clip_id, split in splits.items():
        if not rules.training_vocabulary or split in ("train", "additional"):
            yield from _texts(store.columns(clip_id, ["words"]))


def _texts(clip: pa.Table) -> list[str]:
    """Return the texts of a clip's word intervals; empty if it has no TextGrid."""
    texts: list[str] = clip["words"].combine_chunks().flatten().field("text").to_pylist()
    return texts


class _FeatureWriter:
    """Writer of the Parquet files of a features folder, with counts for its summary."""

    def __init__(self, folder: Path, config: FeaturesConfig) -> None:
        self._folder = folder
        self._clips_per_shard = config.clips_per_shard
        self._clips = ShardWriter(folder / "clips.parquet", FEATURE_CLIP)
        self._frames = self._open_shard(0)
        self._speed = np.zeros(JOINT_COUNT)
        self._steps = 0
        self.clips_per_split: Counter[str] = Counter()
        self.frames = 0

    def __enter__(self) -> "_FeatureWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._frames.close()
        self._clips.close()

    def add(self, features: ClipFeatures, labels: Mapping[str, Any]) -> None:
        """Write the row and the frames of one clip."""
        shard, row_group = divmod(self.clips_per_split.total(), self._clips_per_shard)
        if row_group == 0:
            self._frames.close()
            self._frames = self._open_shard(shard)
        self._frames.add(features.frames)
        row = {
            **features.row,
            **labels,
            "split": features.split,
            "shard": self._frames.path.name,
            "row_group": row_group,
        }
        self._clips.add(pa.Table.from_pylist([row], FEATURE_CLIP))

        self.clips_per_split[features.split] += 1
        self.frames += features.row["frames"]
        if features.split == "train":
            self._speed += features.speed_sum
            self._steps += features.steps

    def mean_joint_speed(self) -> NDArray[np.float32]:
        """Return the mean speed (55,) of each joint over all training frames, m/s."""
        return (self._speed / max(1, self._steps)).astype(np.float32)

    def _open_shard(self, number: int) -> ShardWriter:
        path = self._folder / f"frames-{number:05d}.parquet"
        return ShardWriter(path, FRAME, floats=FLOAT_COLUMNS, dictionary=["word"])
