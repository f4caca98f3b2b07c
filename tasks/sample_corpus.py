"""Stage sample_corpus: speak and move the embedded corpus, and write the stand-in body; next to nothing elsewhere.

Where another corpus is configured only the stand-in is written, and only if the configuration asks for it.
"""

import sys
from pathlib import Path

from mambatalk.config import Config
from mambatalk.data.sample import write_sample
from mambatalk.data.snapshot import write_snapshot
from mambatalk.files import atomic_directory, read_json, write_json
from mambatalk.motion.stand_in import write_stand_in
from tasks._paths import SAMPLE, SAMPLE_BODY, SAMPLE_CORPUS, SAMPLE_EVENTS, SAMPLE_SNAPSHOT
from tasks._stage import execute
from tasks._tracking import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write `data/sample`: corpus/, snapshot.json and body/ as far as the configuration wants them, and events.json.

    The last holds what the sample's law did in each clip; it is always there, and empty for a corpus without a law.
    """
    sample, events = config.sample_corpus, {}
    with atomic_directory(SAMPLE) as out:
        if Path(config.body.path) == SAMPLE_BODY:
            write_stand_in(out / SAMPLE_BODY.relative_to(SAMPLE))
        if sample.enabled:
            corpus = out / SAMPLE_CORPUS.relative_to(SAMPLE)
            write_sample(corpus, hours=sample.hours, speakers=sample.speakers, seed=config.seed)
            events = {path.stem: read_json(path) for path in sorted((corpus / "events").glob("*.json"))}
            snapshot = write_snapshot(corpus, out / SAMPLE_SNAPSHOT.relative_to(SAMPLE))
            recorder.metrics({"files": len(snapshot["files"]),
                              "bytes": sum(file["size"] for file in snapshot["files"].values())})
        write_json(out / SAMPLE_EVENTS.relative_to(SAMPLE), events)


def main() -> None:
    """Run under DVC."""
    sys.exit(execute("sample_corpus", run))


if __name__ == "__main__":
    main()
