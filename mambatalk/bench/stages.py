"""Ingest, and features, as a process of their own, so that what they take in memory can be watched from outside.

`python -m mambatalk.bench.stages` takes one JSON object, the arguments of `run`, and prints one: seconds and hours.
"""

import json
import sys
import time
from pathlib import Path

from mambatalk.config import FeaturesConfig
from mambatalk.data.clips import ClipStore
from mambatalk.data.features import build_features
from mambatalk.data.ingest import ingest
from mambatalk.motion.body import load_body
from mambatalk.motion.stand_in import write_stand_in

CONFIG = FeaturesConfig(ctc_model=None, validation_share=0.1, clips_per_shard=32)


def run(*, root: str, snapshot: str, out: str, scratch: str, workers: int, features: bool) -> dict[str, float]:
    """Write `out`/clips and, if asked for, `out`/features.

    Returns:
        Seconds that `ingest` and `features` took, from the first line of each to the last, the start of their processes
        included; `hours` of motion.

    """
    folder = Path(out)
    (folder / "clips").mkdir(parents=True)
    start = time.perf_counter()
    ingest(root, snapshot, folder / "clips", speakers=[], clips_per_shard=32, workers=workers, scratch=Path(scratch))
    taken = {"ingest": time.perf_counter() - start}
    store = ClipStore(folder / "clips")
    taken["hours"] = float(store.manifest["motion_seconds"].sum()) / 3600
    if features:
        (folder / "features").mkdir()
        write_stand_in(folder / "body.npz")
        body = load_body(folder / "body.npz")
        readable = store.manifest[store.manifest["fault"].isna() & store.manifest["split"].notna()]
        start = time.perf_counter()
        build_features(store, list(readable["clip_id"]), folder / "features", body=body, config=CONFIG,
                       fidelity="corrected", workers=workers)
        taken["features"] = time.perf_counter() - start
    return taken


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(**json.loads(sys.argv[1]))))
