"""A small features folder in the real format."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from mambatalk.features.schema import FEATURE_CLIP, FRAME
from mambatalk.files import digest, write_json

IDENTITY = np.array([1, 0, 0, 0, 1, 0], np.float32)


def write_feature_folder(
    out: Path,
    *,
    seconds: Sequence[float] = (6.0, 4.0, 5.0),
    splits: Sequence[str] = ("train", "val", "test"),
    seed: int = 0,
    ctc: Sequence[int] = (),
) -> Path:
    """Write clips of random motion and audio.

    Args:
        out: Folder to write.
        seconds: Duration of each clip.
        splits: Split of each clip.
        seed: Random seed.
        ctc: Indices of the clips that have CTC ids, 50 per second.

    """
    out.mkdir(parents=True)
    random = np.random.default_rng(seed)
    rows = []
    with pq.ParquetWriter(out / "frames-00000.parquet", FRAME) as writer:
        for index, (length, split) in enumerate(zip(seconds, splits, strict=True)):
            frames = round(length * 30)
            writer.write_table(_frames(random, frames), row_group_size=frames)
            rows.append(_clip(random, index, split, frames, round((length + 0.3) * 16000)))
    for index in ctc:
        rows[index]["ctc"] = random.integers(1, 32, rows[index]["samples"] // 320).tolist()
    pq.write_table(pa.Table.from_pylist(rows, FEATURE_CLIP), out / "clips.parquet")
    write_json(
        out / "vocabulary.json",
        {w: k for k, w in enumerate(["PAD", "SOS", "EOS", "UNK", "yes", "no"])},
    )
    write_json(
        out / "features.json",
        {"digest": digest([seconds, splits, seed, ctc]), "speakers": {"1": 0, "2": 1}},
    )
    np.save(out / "mean_velocity.npy", np.full(55, 0.1, np.float32))
    return out


def _frames(random: np.random.Generator, frames: int) -> pa.Table:
    time = np.arange(frames)[:, None] / 30
    wobble = 0.2 * np.sin(
        2 * np.pi * (time * random.uniform(0.3, 1, 330) + random.uniform(0, 1, 330))
    )
    trans = np.concatenate([np.sin(time), 0.9 + 0 * time, np.cos(time)], 1) * [0.1, 1, 0.1]
    contact = random.integers(0, 2, (frames, 4))
    motion = np.concatenate([np.tile(IDENTITY, 55) + wobble, trans, contact], 1).astype(np.float32)
    expressions = random.normal(0, 1, (frames, 100)).astype(np.float32)
    return pa.table(
        {
            "motion": pa.FixedSizeListArray.from_arrays(motion.ravel(), 337),
            "expressions": pa.FixedSizeListArray.from_arrays(expressions.ravel(), 100),
            "word": pa.array(random.integers(0, 6, frames), pa.int32()),
        },
        FRAME,
    )


def _clip(
    random: np.random.Generator, index: int, split: str, frames: int, samples: int
) -> dict[str, Any]:
    wave = (random.normal(0, 0.1, samples) * np.sin(np.arange(samples) / 8000)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, wave, 16000, format="FLAC", subtype="PCM_16")
    decoded = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0]
    return {
        "clip_id": f"{index + 1}_clip_0_{index}_{index}",
        "speaker": index + 1,
        "speaker_index": index % 2,
        "split": split,
        "frames": frames,
        "shard": "frames-00000.parquet",
        "row_group": index,
        "emotion": 0,
        "betas": random.normal(0, 1, 300).astype(np.float32),
        "audio": file.getvalue(),
        "samples": samples,
        "wave_mean": float(decoded.mean()),
        "wave_std": float(decoded.std()),
        "ctc": None,
        "has_text": True,
        "unknown_words": 0.0,
        "silent_share": 0.0,
        "contact_share": 0.5,
        "foot_skate": 0.0,
        "floor_height": 0.0,
        "not_finite": 0,
    }
