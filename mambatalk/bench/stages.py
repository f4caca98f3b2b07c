"""Ingest, or features, as a process of its own, so that what it takes in memory can be watched from
outside.

`python -m mambatalk.bench.stages` takes a stage's name and one JSON object, the arguments of
`ingest_once` or `features_once`, and prints how many seconds it took, the start of its worker
processes included. Imports are lazy, as in the pipeline's stages: worker processes import this
module again.
"""

import json
import sys
import time
from pathlib import Path


def ingest_once(*, root: str, snapshot: str, out: str, scratch: str, workers: int) -> float:
    """Write `out`/clips and return the seconds it took."""
    from mambatalk.clips.ingest import ingest

    clips = Path(out) / "clips"
    clips.mkdir(parents=True)
    start = time.perf_counter()
    ingest(
        root,
        snapshot,
        clips,
        speakers=[],
        clips_per_shard=32,
        workers=workers,
        cache=Path(scratch),
    )
    return time.perf_counter() - start


def features_once(*, out: str, workers: int) -> float:
    """Write `out`/features from `out`/clips, all that can be read, and return the seconds it
    took.
    """
    from mambatalk.clips.store import ClipStore
    from mambatalk.config import FeaturesConfig
    from mambatalk.features.build import build_features
    from mambatalk.fidelity import CORRECTED
    from mambatalk.motion.body import load_body
    from mambatalk.motion.stand_in.model import write_stand_in

    folder = Path(out)
    (folder / "features").mkdir()
    write_stand_in(folder / "body.npz")
    body, store = load_body(folder / "body.npz"), ClipStore(folder / "clips")
    readable = store.manifest[store.manifest["fault"].isna() & store.manifest["split"].notna()]
    start = time.perf_counter()
    build_features(
        store,
        list(readable["clip_id"]),
        folder / "features",
        body=body,
        rules=CORRECTED,
        workers=workers,
        config=FeaturesConfig(ctc_model=None, validation_share=0.1, clips_per_shard=32),
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    seconds = ingest_once(**given) if sys.argv[1] == "ingest" else features_once(**given)
    sys.stdout.write(str(seconds))
