"""Stage ingest: the corpus named by its snapshot becomes a clip store, one row per clip."""

from mambatalk.config import Config
from mambatalk.files import atomic_directory, cache_folder
from tasks.runtime.paths import CLIPS
from tasks.runtime.stage import stage_command, workers
from tasks.tracking.recorder import Recorder


def run(config: Config, recorder: Recorder) -> None:
    """Write `data/clips` from `ingest.root`, after holding every file against `ingest.snapshot`."""
    # Here, since every worker process imports this module again.
    import pandas

    from mambatalk.clips.ingest import ingest

    section = config.ingest
    with atomic_directory(CLIPS) as out:
        ingest(
            section.root,
            section.snapshot,
            out,
            speakers=section.speakers,
            clips_per_shard=section.clips_per_shard,
            workers=workers(),
            cache=cache_folder() / "ingest",
        )
    manifest = pandas.read_parquet(CLIPS / "manifest.parquet")
    recorder.metrics(
        {
            "clips": len(manifest),
            "faults": int(manifest["fault"].notna().sum()),
            "hours": float(manifest["frames"].fillna(0).sum()) / 30 / 3600,
        }
    )
    recorder.artifact(CLIPS / "manifest.parquet")
    recorder.artifact(section.snapshot)


def main() -> None:
    """Run under DVC."""
    stage_command("ingest", run, __doc__)


if __name__ == "__main__":
    main()
