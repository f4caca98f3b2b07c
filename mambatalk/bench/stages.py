"""Run ingest, feature extraction or a check in a separate process, whose memory can be measured.

`python -m mambatalk.bench.stages STAGE JSON` takes the arguments of `run_ingest`, `run_features` or
`run_check` as a JSON object and prints the duration in seconds, including the start of worker
processes.
Imports are lazy, as in the stages of the pipeline, because worker processes import this module
again.
"""

import json
import sys
import time
from collections.abc import Callable
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


def run_check(*, root: str, cache: str, workers: int) -> float:
    """Check a corpus as `mambatalk check` does, without a page.

    Returns:
        Duration in seconds since the start of this process.

    """
    import psutil

    from mambatalk.clips.measured_corpus import MeasuredCorpus
    from mambatalk.quality.pages.report import build_report
    from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS

    build_report(
        MeasuredCorpus(root, workers=workers, cache=Path(cache)), STANDARD_BOUNDS, corpus=root
    )
    return time.time() - psutil.Process().create_time()


STAGES: dict[str, Callable[..., float]] = {
    "ingest": run_ingest,
    "features": run_features,
    "check": run_check,
}

if __name__ == "__main__":
    sys.stdout.write(str(STAGES[sys.argv[1]](**json.loads(sys.argv[2]))))
