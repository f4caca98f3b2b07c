"""A checkout whose pipeline looks built: small real features, networks, a bundle and evidence.

Nothing was trained. It has what registration and the promotion gate read.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import torch
from ruamel.yaml import YAML

from mambatalk.files import digest, write_json
from mambatalk.models.fgd.network import FGDEncoder
from mambatalk.models.fgd.storage import save_fgd_encoder
from mambatalk.synthesis.bundle import Bundle
from tests.helpers.feature_folder import write_feature_folder
from tests.helpers.stand_in_body import stand_in_file
from tests.helpers.tiny_bundle import tiny_bundle

ROOT = Path(__file__).parents[2]
CODED = ("face", "upper", "hands", "lower")
SPLITS = ("train", "train", "test", "test", "test", "test", "test", "test")


def write_checkout(root: Path, *, seed: int = 0, splits: Sequence[str] = SPLITS) -> Path:
    """Write a checkout with the bundle of a seed."""
    root.mkdir(parents=True)
    _write_params(root)
    write_feature_folder(
        root / "data/features",
        seconds=[2.5] * len(splits),
        splits=splits,
    )
    _write_manifest(root, splits)
    torch.manual_seed(0)
    save_fgd_encoder(root / "models/fgd", FGDEncoder(20).eval())
    (root / "data/body").mkdir()
    shutil.copy(stand_in_file(), root / "data/body/body.npz")
    write_bundle(root, bundle_of_seed(seed))
    for name in ("check_clips", "check_features"):
        write_json(root / "metrics" / f"{name}.json", {"success": True, "warnings": 0})
    (root / "renders").mkdir()
    (root / "renders/clip.mp4").write_bytes(b"video")
    return root


def bundle_of_seed(seed: int) -> Bundle:
    """Return a tiny bundle that knows the speakers of the features, one of each clip."""
    return replace(tiny_bundle(seed), speakers={k + 1: k % 2 for k in range(len(SPLITS))})


def write_bundle(root: Path, bundle: Bundle) -> None:
    """Replace the bundle of a checkout, and the `dvc.lock` that says what it was built from."""
    bundle.save(root / "bundle")
    write_lock(root)


def write_lock(root: Path, *, read: str = "codebooks") -> None:
    """Write a `dvc.lock`.

    Args:
        root: Root of the checkout.
        read: Name of the auto-encoders that the generator was trained with; "codebooks" for those
            that were written.

    """
    codes = {"path": "data/codes", "md5": "codes"}
    stages = {
        f"train_vq@{part}": {
            "cmd": "vq",
            "outs": [{"path": f"models/vq/{part}", "md5": f"codebooks {part}"}],
        }
        for part in CODED
    }
    parts = [{"path": f"models/vq/{part}", "md5": f"{read} {part}"} for part in CODED]
    stages["encode_codes"] = {"cmd": "encode", "deps": parts, "outs": [codes]}
    stages["train_generator"] = {"cmd": "train", "deps": [*parts, codes], "outs": []}
    yaml = YAML(typ="safe", pure=True)
    yaml.dump({"schema": "2.0", "stages": stages}, root / "dvc.lock")


def _write_params(root: Path) -> None:
    yaml = YAML()
    values = yaml.load(ROOT / "infra/profiles/tiny.yaml")
    values["body"]["path"] = "data/body/body.npz"
    values["promotion"].update(beat_mean_pose=["l1div"], beat_random_clip=[], tolerance=0.5)
    yaml.dump(values, root / "params.yaml")


def _write_manifest(root: Path, splits: Sequence[str]) -> None:
    """Write the columns of a manifest that drift and the test split are read from."""
    random = np.random.default_rng(0)
    clips = [f"{index + 1}_clip_0_{index}_{index}" for index in range(len(splits))]
    (root / "data/clips").mkdir()
    pandas.DataFrame(
        {
            "clip_id": clips,
            "speaker": range(1, len(splits) + 1),
            "name": "somebody",
            "split": list(splits),
            "motion_seconds": 2.5,
            "audio_seconds": 2.8,
            "words": 6,
            "peak": random.uniform(0.3, 0.9, len(splits)),
            "motion_sha256": [digest(clip) for clip in clips],
            "wave_sha256": [digest([clip]) for clip in clips],
        }
    ).to_parquet(root / "data/clips/manifest.parquet")
    write_json(root / "data/accepted.json", {"accepted": clips, "quarantined": {}})
