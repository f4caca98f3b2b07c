"""The corpus as an MLflow data set, identified by the digest of its snapshot."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mambatalk.config import Config
from mambatalk.files import read_json

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

_DIGEST_LENGTH: Final = 36
"""The most that MLflow accepts; the tag `snapshot_digest` has the whole digest."""
_CONTEXTS: Final = {"train": "training", "evaluate": "evaluation"}
"""Purpose of the data by the first word of the stage; the stage itself for others."""


@dataclass(frozen=True)
class DataSet:
    """A corpus at one snapshot."""

    name: str
    digest: str
    folder: str

    def as_input(self, stage: str) -> "DatasetInput":
        """Return it as the input of the run of a stage."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        # "local" is the type of `mlflow.data.get_source` for files and folders.
        data = Dataset(self.name, self.digest, "local", json.dumps({"uri": self.folder}))
        context = _CONTEXTS.get(stage.split("_")[0], stage)
        return DatasetInput(data, [InputTag(MLFLOW_DATASET_CONTEXT, context)])


def corpus_data_set(config: Config, root: Path) -> DataSet | None:
    """Return the corpus of a build; None before it has a snapshot."""
    snapshot = root / config.ingest.snapshot
    if not snapshot.exists():
        return None
    folder = (root / config.ingest.root).resolve()
    return DataSet(
        name="embedded sample" if config.sample_corpus.enabled else folder.name,
        digest=read_json(snapshot)["digest"][:_DIGEST_LENGTH],
        folder=str(folder),
    )
