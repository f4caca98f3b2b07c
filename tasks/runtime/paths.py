"""Where each stage writes, and others read: the outputs of `dvc.yaml`, relative to the repository
root.
"""

from pathlib import Path
from typing import Final

SAMPLE: Final = Path("data/sample")
SAMPLE_CORPUS: Final = SAMPLE / "corpus"
SAMPLE_SNAPSHOT: Final = SAMPLE / "snapshot.json"
SAMPLE_EVENTS: Final = SAMPLE / "events.json"
SAMPLE_BODY: Final = SAMPLE / "body" / "SMPLX_NEUTRAL_2020.npz"
CLIPS: Final = Path("data/clips")
ACCEPTED: Final = Path("data/accepted.json")
FEATURES: Final = Path("data/features")
CODES: Final = Path("data/codes")
VQ: Final = Path("models/vq")
FGD: Final = Path("models/fgd")
GENERATOR: Final = Path("models/generator")
BUNDLE: Final = Path("bundle")
RESULTS: Final = Path("results")
RENDERS: Final = Path("renders")
METRICS: Final = Path("metrics")
PLOTS: Final = Path("plots")
DATA_DOCS: Final = Path("reports/data_docs")
QUALITY: Final = Path("reports/quality/index.html")
EVALUATION: Final = METRICS / "metrics.json"
SUMMARY: Final = METRICS / "summary.json"
PER_CLIP: Final = METRICS / "per_clip.csv"
REPORT: Final = Path("reports/index.html")
