"""Stage ingest: read the corpus that the snapshot describes into a clip store, one row per clip."""

from mambatalk.files import atomic_directory, cache_folder
from tasks.runtime.context import StageContext
from tasks.runtime.stage import stage_command, workers


def run(context: StageContext) -> None:
    """Write `data/clips` from `ingest.root`, and check every file against `ingest.snapshot`."""
    # Here, because every worker process imports this module again.
    import pandas

    from mambatalk.clips.ingest import ingest
    from mambatalk.motion.skeleton import FPS

    section = context.config.ingest
    paths = context.paths
    snapshot = paths.resolve(section.snapshot)
    with atomic_directory(paths.clips) as out:
        ingest(
            paths.resolve(section.root),
            snapshot,
            out,
            speakers=section.speakers,
            clips_per_shard=section.clips_per_shard,
            workers=workers(),
            cache=cache_folder() / "ingest",
        )
    manifest = pandas.read_parquet(paths.clips / "manifest.parquet")
    seconds = float(manifest["frames"].fillna(0).sum()) / FPS
    context.recorder.metrics(
        {
            "clips": len(manifest),
            "faults": int(manifest["fault"].notna().sum()),
            "hours": seconds / 3600,
        }
    )
    context.recorder.artifact(paths.clips / "manifest.parquet")
    context.recorder.artifact(snapshot)


def main() -> None:
    """Run the stage."""
    stage_command("ingest", run, __doc__)


if __name__ == "__main__":
    main()
