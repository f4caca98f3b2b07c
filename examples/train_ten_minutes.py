"""Train a network without the pipeline: `python examples/train_ten_minutes.py FOLDER [HOURS]`.

Writes ten minutes of the sample corpus, ingests it, computes features and trains the auto-encoder
of the face on them. Each step is what the DVC stage of the same name does.
"""

import sys
from dataclasses import replace
from pathlib import Path

from mambatalk.clips.ingest import ingest
from mambatalk.clips.store import ClipStore
from mambatalk.config import load_config
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.features.build import build_features
from mambatalk.features.store import open_features
from mambatalk.fidelity import FidelityRules
from mambatalk.models.vq.storage import save_auto_encoder
from mambatalk.motion.body import load_body
from mambatalk.motion.stand_in.model import write_stand_in
from mambatalk.runtime import device, make_deterministic
from mambatalk.sample.build import write_sample
from mambatalk.training.context import TrainContext
from mambatalk.training.modules.vq import train_auto_encoder

folder = Path(sys.argv[1])
hours = float(sys.argv[2]) if len(sys.argv) > 2 else 10 / 60
config = load_config(Path(__file__).parents[1] / "infra/profiles/tiny.yaml")
rules = FidelityRules.of(config.fidelity)

# The corpus, and the body that gives its joints.
write_sample(folder / "corpus", hours=hours, speakers=3, seed=config.seed, workers=1)
write_snapshot(folder / "corpus", folder / "snapshot.json")
write_stand_in(folder / "body.npz")
body = load_body(folder / "body.npz")

# From files to the table of frames that training reads.
for name in ("clips", "features"):
    (folder / name).mkdir()
ingest(
    folder / "corpus", folder / "snapshot.json", folder / "clips", speakers=[], clips_per_shard=32
)
clips = ClipStore(folder / "clips")
build_features(
    clips,
    list(clips.manifest["clip_id"]),
    folder / "features",
    body=body,
    config=replace(config.features, ctc_model=None),
    rules=rules,
)

make_deterministic(config.seed, threads=1)
trained = train_auto_encoder(
    "face",
    open_features(folder / "features", folder / "cache"),
    body,
    common=config.train_vq.common,
    config=config.train_vq.face,
    mesh_vertices=config.body.mesh_vertices,
    mesh_frames=config.body.mesh_frames,
    rules=rules,
    seed=config.seed,
    context=TrainContext(device=device()),
)
(folder / "face").mkdir()
save_auto_encoder(folder / "face", "face", trained.network)
for name, value in trained.metrics.items():
    print(f"{name}: {value:.4g}")
