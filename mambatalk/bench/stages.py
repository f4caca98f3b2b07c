"""Run ingest or feature extraction in a separate process, whose memory can be measured.

`python -m mambatalk.bench.stages STAGE JSON` takes the arguments of `run_ingest` or `run_features`
as a JSON object and prints the duration in seconds, including the start of worker processes.
Imports are lazy, as in the stages of the pipeline, because worker processes import this module
again.
"""

import json
import sys
import time
from pathlib import Path


def run_ingest(*, root: str, snapshot: str, out: str, scratch: str, workers: int) -> float:
    """Ingest a corpus into `out`/clips and return the duration in seconds."""
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


def run_features(*, out: str, workers: int) -> float:
    """Extract `out`/features from all readable clips of `out`/clips.

    Returns:
        Duration in seconds.

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
    body = load_body(folder / "body.npz")
    store = ClipStore(folder / "clips")
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
    stage, arguments = sys.argv[1], json.loads(sys.argv[2])
    seconds = run_ingest(**arguments) if stage == "ingest" else run_features(**arguments)
    sys.stdout.write(str(seconds))
