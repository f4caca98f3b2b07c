"""Accepted clips to what the networks read: motion channels, words by frame, sound, contacts, labels.

Frames go to `frames-*.parquet`, one row group per clip; `clips.parquet` holds one row per clip. Sound is stored once as
FLAC and its channels are computed where they are used. Vocabulary and mean joint speed come from the training clips
alone in corrected fidelity; published takes the words of all clips, test included.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from mambatalk.audio.ctc import load_ctc
from mambatalk.audio.features import wave_statistics
from mambatalk.config import FeaturesConfig, Fidelity
from mambatalk.data.clips import Clip, ClipStore
from mambatalk.data.labels import emotion_label, speaker_indices
from mambatalk.data.schema import FEATURE_CLIP, FRAME
from mambatalk.data.statistics import SILENCE, block_loudness
from mambatalk.errors import UserError
from mambatalk.files import digest, sha256_file, write_json
from mambatalk.motion.body import Body
from mambatalk.motion.kinematics import contacts_of_feet
from mambatalk.motion.rotations import axis_angle_to_matrix, matrix_to_6d
from mambatalk.motion.skeleton import EXPRESSION_DIM, FOOT_JOINTS, FPS, JOINT_COUNT, MOTION_DIM
from mambatalk.text.vocabulary import PAD, UNKNOWN, build_vocabulary
from mambatalk.text.words import frame_words


def build_features(store: ClipStore, accepted: Sequence[str], out: str | Path, *, body: Body, config: FeaturesConfig,
                   fidelity: Fidelity) -> None:
    """Write a features folder.

    Args:
        store: Clips as recorded.
        accepted: Ids of the clips to take, in order.
        out: An empty folder.
        body: For joints: contacts, floor, joint speeds.
        config: CTC model, share of validation, shard size.
        fidelity: Published or corrected words and labels.

    Raises:
        UserError: A split has no clip.

    """
    out = Path(out)
    table = store.manifest.set_index("clip_id").loc[list(accepted)]
    splits, notes = settle_splits(table["split"].to_dict(), table["content"].to_dict(), config.validation_share)
    indices = speaker_indices(table["speaker"])
    vocabulary = build_vocabulary(_marks(store, splits, fidelity), fidelity=fidelity)
    recognise = None if config.ctc_model is None else load_ctc(config.ctc_model)
    speeds = _MeanSpeed()
    rows = []
    with _Frames(out, config.clips_per_shard) as frames:
        for whole in store.clips(list(accepted)):
            facts = table.loc[whole.clip_id]
            for clip, split in pieces(whole, splits[whole.clip_id], cut="val" not in splits.values(),
                                      share=config.validation_share):
                features, joints = frame_features(clip, body, vocabulary, fidelity=fidelity)
                if split == "train":
                    speeds.add(joints)
                rows.append({
                    "clip_id": clip.clip_id, "speaker": facts["speaker"], "speaker_index": indices[facts["speaker"]],
                    "split": split, "ctc": None if recognise is None else recognise(clip.wave),
                    "emotion": emotion_label(facts["recording_type"], facts["start"], fidelity=fidelity),
                    **frames.add(features), **clip_features(clip, features, joints),
                })
    pq.write_table(pa.Table.from_pylist(rows, FEATURE_CLIP), out / "clips.parquet", row_group_size=1)
    np.save(out / "mean_velocity.npy", speeds.mean())
    write_json(out / "vocabulary.json", vocabulary)
    write_json(out / "features.json", {
        "clips": len(rows), "frames": sum(row["frames"] for row in rows), "words": len(vocabulary),
        "splits": dict(sorted(Counter(row["split"] for row in rows).items())),
        "speakers": {str(speaker): index for speaker, index in indices.items()}, "notes": notes, "body": body.kind,
        "digest": digest([sha256_file(path) for path in sorted(out.glob("*.parquet"))]),
    })


def settle_splits(splits: Mapping[str, str], contents: Mapping[str, str], share: float
                  ) -> tuple[dict[str, str], list[str]]:
    """Splits of all clips, with validation carved from training where the corpus has none, and a note that says so.

    Which clips are carved follows from their content, so that it stays when others come or go. A single training clip
    is not touched here: `build_features` gives its end to validation.

    Raises:
        UserError: Training or test is empty.

    """
    settled, notes = dict(splits), []
    train = sorted((clip for clip, split in settled.items() if split == "train"), key=lambda clip: contents[clip])
    if "val" not in settled.values() and len(train) > 1:
        carved = train[: max(1, round(share * len(train)))]
        settled |= dict.fromkeys(carved, "val")
        notes.append(f"the corpus marks no validation clip: {len(carved)} of {len(train)} carved from train")
    elif "val" not in settled.values():
        notes.append(f"the corpus marks no validation clip: the last {share:.0%} of its one training clip stand in")
    for split in ("train", "test"):
        if split not in settled.values():
            raise UserError("accepted clips", found=f"none in split {split}", expected="at least one",
                            do="check train_test_split.csv and what check_clips left out")
    return settled, notes


def pieces(clip: Clip, split: str, *, cut: bool, share: float) -> Iterator[tuple[Clip, str]]:
    """The clip with its split; or, where it is to be cut, its beginning for training and its end for validation."""
    if not (cut and split == "train"):
        yield clip, split
        return
    border = round(len(clip.poses) * (1 - share))
    yield clip.cut(0, border), "train"
    yield clip.cut(border, len(clip.poses), suffix="-end"), "val"


def frame_features(clip: Clip, body: Body, vocabulary: dict[str, int], *, fidelity: Fidelity
                   ) -> tuple[dict[str, NDArray[Any]], torch.Tensor]:
    """Features by frame (schema.FRAME) of a clip and its joints (n, 55, 3) in metres."""
    rotations = axis_angle_to_matrix(torch.from_numpy(clip.poses.copy()).unflatten(-1, (JOINT_COUNT, 3)))
    trans = torch.from_numpy(clip.trans.astype(np.float32))
    rest = body.rest_joints(torch.from_numpy(clip.betas.copy()))
    joints = torch.cat([body.joints(turn, rest, move) for turn, move in zip(
        rotations.split(1024), trans.split(1024), strict=True)])
    contacts = contacts_of_feet(joints[:, FOOT_JOINTS])
    motion = torch.cat([matrix_to_6d(rotations).flatten(1), trans, contacts], dim=-1)
    frames = len(clip.poses)
    words = np.full(frames, PAD, np.int32) if clip.words is None else frame_words(
        clip.words, vocabulary, frames, fidelity=fidelity)
    return {"motion": motion.numpy(), "expressions": clip.expressions, "word": words}, joints


def clip_features(clip: Clip, features: Mapping[str, NDArray[Any]], joints: torch.Tensor) -> dict[str, Any]:
    """Columns of schema.FEATURE_CLIP that follow from the clip alone."""
    wave = clip.wave
    mean, std = wave_statistics(torch.from_numpy(wave))
    planted = features["motion"][:-1, -len(FOOT_JOINTS):] > 0.5
    feet = joints[:, FOOT_JOINTS].numpy()
    slide = np.linalg.norm(np.diff(feet[..., (0, 2)], axis=0), axis=-1) * FPS
    return {
        "frames": len(clip.poses), "betas": clip.betas, "audio": clip.audio, "samples": len(wave), "wave_mean": mean,
        "wave_std": std, "has_text": clip.words is not None,
        "unknown_words": float((features["word"] == UNKNOWN).mean()),
        "silent_share": float((block_loudness(wave) < SILENCE).mean()),
        "contact_share": float(planted.mean()) if planted.size else 0.0,
        "foot_skate": float(slide[planted].mean()) if planted.any() else 0.0,
        "floor_height": float(np.percentile(feet[..., 1], 2)),
        "floor_drift": _floor_drift(feet[..., 1]),
        "not_finite": int(sum((~np.isfinite(features[name])).sum() for name in ("motion", "expressions"))),
    }


def _floor_drift(heights: NDArray[Any]) -> float:
    """How far (m) the lowest foot of the last third lies from that of the first, of feet (n, 4) above the floor."""
    third = -(-len(heights) // 3)
    return float(abs(np.percentile(heights[-third:], 2) - np.percentile(heights[:third], 2)))


def _marks(store: ClipStore, splits: Mapping[str, str], fidelity: Fidelity) -> Iterator[str]:
    wanted = [clip for clip, split in splits.items() if fidelity == "published" or split in ("train", "additional")]
    for clip in store.clips(wanted):
        yield from (word.text for word in clip.words or ())


class _MeanSpeed:
    """Mean speed (55,) of each joint in metres a second, frame by frame, over all training clips."""

    def __init__(self) -> None:
        self._sum, self._count = np.zeros(JOINT_COUNT), 0

    def add(self, joints: torch.Tensor) -> None:
        speed = joints.diff(dim=0).norm(dim=-1) * FPS
        self._sum += speed.sum(0, dtype=torch.float64).numpy()
        self._count += len(speed)

    def mean(self) -> NDArray[np.float32]:
        return (self._sum / max(1, self._count)).astype(np.float32)


class _Frames:
    """`frames-*.parquet`, so many clips to a file."""

    def __init__(self, folder: Path, clips_per_shard: int) -> None:
        self._folder, self._size, self._count = folder, clips_per_shard, 0
        self._writer: Any = None

    def __enter__(self) -> "_Frames":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, features: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        shard, row_group = divmod(self._count, self._size)
        name = f"frames-{shard:05d}.parquet"
        if row_group == 0:
            self.__exit__()
            self._writer = pq.ParquetWriter(
                self._folder / name, FRAME, compression="zstd", use_dictionary=["word"],
                column_encoding={f"{column}.list.element": "BYTE_STREAM_SPLIT" for column in ("motion", "expressions")})
        frames = len(features["word"])
        self._writer.write_table(pa.table({
            "motion": _fixed(features["motion"], MOTION_DIM),
            "expressions": _fixed(features["expressions"], EXPRESSION_DIM),
            "word": pa.array(features["word"], pa.int32()),
        }, FRAME), row_group_size=frames)
        self._count += 1
        return {"shard": name, "row_group": row_group}


def _fixed(values: NDArray[Any], width: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(np.ascontiguousarray(values, np.float32).ravel(), width)
