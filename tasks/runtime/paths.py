"""Paths of one checkout: what the stages of `dvc.yaml` write and read, and `runs/` beside them."""

import os
from pathlib import Path


class Paths:
    """The files and folders of one checkout.

    Args:
        root: Folder of `dvc.yaml`. The default keeps all paths relative to the working directory.

    """

    def __init__(self, root: str | Path = ".") -> None:
        self.root = root = Path(root)
        self.params = root / "params.yaml"
        self.runs = root / os.environ.get("MAMBATALK_RUNS", "runs")

        self.sample = root / "data/sample"
        self.sample_corpus = self.sample / "corpus"
        self.sample_snapshot = self.sample / "snapshot.json"
        self.sample_events = self.sample / "events.json"
        self.sample_body = self.sample / "body/SMPLX_NEUTRAL_2020.npz"
        self.clips = root / "data/clips"
        self.decisions = root / "data/decisions.csv"
        self.accepted = root / "data/accepted.json"
        self.features = root / "data/features"
        self.codes = root / "data/codes"

        self.vq = root / "models/vq"
        self.fgd = root / "models/fgd"
        self.generator = root / "models/generator"
        self.bundle = root / "bundle"

        self.results = root / "results"
        self.renders = root / "renders"
        self.plots = root / "plots"
        self.metrics = root / "metrics"
        self.evaluation = self.metrics / "metrics.json"
        self.summary = self.metrics / "summary.json"
        self.per_clip = self.metrics / "per_clip.csv"

        self.data_docs = root / "reports/data_docs"
        self.quality_page = root / "reports/quality/index.html"
        self.data_card = root / "reports/quality/DATA_CARD.md"
        self.report = root / "reports/index.html"

    def resolve(self, path: str | Path) -> Path:
        """Return a path of the configuration, which is relative to the root unless absolute."""
        return self.root / path

    def run_folder(self, stage: str) -> Path:
        """Return a stage's folder for files that are not outputs: status, lock, evidence, scratch.

        DVC deletes outputs before a stage runs and after it fails, and leaves this folder alone.
        `MAMBATALK_RUNS` moves it off `runs/`.
        """
        return self.runs / stage
