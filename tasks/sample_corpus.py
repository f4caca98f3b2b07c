"""Stage sample_corpus: speak and move the embedded corpus, and write the stand-in body; next to
nothing elsewhere.

It runs first, so it also says what is missing of that which others give. Where another corpus is
configured only the stand-in is written, and only if the configuration asks for it.
"""

from pathlib import Path

from mambatalk.config import Config
from mambatalk.corpus.snapshot import write_snapshot
from mambatalk.errors import InputError
from mambatalk.files import atomic_directory, read_json, write_json
from mambatalk.motion.stand_in.model import write_stand_in
from mambatalk.sample.build import write_sample
from tasks.runtime.paths import SAMPLE, SAMPLE_BODY, SAMPLE_CORPUS, SAMPLE_EVENTS, SAMPLE_SNAPSHOT
from tasks.runtime.stage import stage_command
from tasks.tracking.recorder import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write `data/sample`: corpus/, snapshot.json and body/ as far as the configuration wants them,
    and events.json.

    The last holds what the sample's law did in each clip; it is always there, and empty for a
    corpus without a law.
    """
    _check_given(config)
    sample, events = config.sample_corpus, {}
    with atomic_directory(SAMPLE) as out:
        if Path(config.body.path) == SAMPLE_BODY:
            write_stand_in(out / SAMPLE_BODY.relative_to(SAMPLE))
        if sample.enabled:
            corpus = out / SAMPLE_CORPUS.relative_to(SAMPLE)
            write_sample(corpus, hours=sample.hours, speakers=sample.speakers, seed=config.seed)
            events = {
                path.stem: read_json(path) for path in sorted((corpus / "events").glob("*.json"))
            }
            snapshot = write_snapshot(corpus, out / SAMPLE_SNAPSHOT.relative_to(SAMPLE))
            recorder.metrics(
                {
                    "files": len(snapshot["files"]),
                    "bytes": sum(file["size"] for file in snapshot["files"].values()),
                }
            )
        write_json(out / SAMPLE_EVENTS.relative_to(SAMPLE), events)


def _check_given(config: Config) -> None:
    """Look for what a person must give, before hours go into what comes before its first use."""
    snapshot = config.ingest.snapshot
    for name, path, expected, do in (
        (
            "ingest.root",
            config.ingest.root,
            "a corpus in BEATX layout",
            "mambatalk download, or say where it is",
        ),
        (
            "ingest.snapshot",
            snapshot,
            "a snapshot of the corpus",
            f"mambatalk snapshot ROOT --out {snapshot}",
        ),
        (
            "body.path",
            config.body.path,
            "a SMPL-X model, npz",
            "get it at smpl-x.is.tue.mpg.de and put it there",
        ),
    ):
        if not (Path(path).is_relative_to(SAMPLE) or Path(path).exists()):
            raise InputError(
                f"params.yaml: {name}", f"expected {expected}, found nothing at {path}", do
            )


def main() -> None:
    """Run under DVC."""
    stage_command("sample_corpus", run, __doc__)


if __name__ == "__main__":
    main()
