"""Stage prepare: check the user's files; write the stand-in body, and the embedded sample.

The body is written if the configuration uses it, the sample if it is the configured corpus. The
files that a user must provide are checked in this first stage, so that a missing one is reported
before hours of computation.
"""

from typing import Any

from mambatalk.config import Config
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.errors import InputError
from mambatalk.files import atomic_directory, read_json, write_json
from mambatalk.motion.stand_in.model import write_stand_in
from mambatalk.sample.build import sample_origin, write_sample
from tasks.runtime.context import StageContext
from tasks.runtime.paths import Paths
from tasks.runtime.stage import stage_command


def run(context: StageContext) -> None:
    """Write `data/sample`: corpus/, snapshot.json and body/ if they are used, and events.json.

    events.json holds the events that the sample's motion rules placed in each clip. It is empty for
    another corpus, but always there, because the stage evaluate depends on it.
    """
    config = context.config
    paths = context.paths
    _check_user_files(config, paths)

    sample = config.sample_corpus
    events: dict[str, Any] = {}
    with atomic_directory(paths.sample) as out:
        if paths.resolve(config.body.path) == paths.sample_body:
            write_stand_in(out / paths.sample_body.relative_to(paths.sample))
        if sample.enabled:
            corpus = out / paths.sample_corpus.relative_to(paths.sample)
            write_sample(corpus, hours=sample.hours, speakers=sample.speakers, seed=config.seed)
            event_files = sorted((corpus / "events").glob("*.json"))
            events = {path.stem: read_json(path) for path in event_files}
            snapshot = write_snapshot(
                corpus,
                out / paths.sample_snapshot.relative_to(paths.sample),
                origin=sample_origin(
                    hours=sample.hours, speakers=sample.speakers, seed=config.seed
                ),
            )
            sizes = [file["size"] for file in snapshot["files"].values()]
            context.recorder.metrics({"files": len(sizes), "bytes": sum(sizes)})
        write_json(out / paths.sample_events.relative_to(paths.sample), events)


def _check_user_files(config: Config, paths: Paths) -> None:
    """Check that what a user must provide exists.

    Raises:
        InputError: A path outside `data/sample` does not exist.

    """
    snapshot = config.ingest.snapshot
    for key, path, expected, hint in (
        (
            "ingest.root",
            config.ingest.root,
            "a corpus in BEATX layout",
            "run `mambatalk download`, or set the path of your copy",
        ),
        (
            "ingest.snapshot",
            snapshot,
            "a snapshot of the corpus",
            f"run `mambatalk snapshot ROOT --out {snapshot}`",
        ),
        (
            "body.path",
            config.body.path,
            "a SMPL-X model, npz",
            "download it from smpl-x.is.tue.mpg.de to this path",
        ),
    ):
        found = paths.resolve(path)
        if not (found.is_relative_to(paths.sample) or found.exists()):
            raise InputError(
                f"params.yaml: {key}", f"expected {expected}, found nothing at {path}", hint
            )


def main() -> None:
    """Run the stage."""
    stage_command("prepare", run, __doc__)


if __name__ == "__main__":
    main()
