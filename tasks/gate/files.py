"""Where the gate leaves its last decision. Flows import this, and none of the gate's code."""

from pathlib import Path
from typing import Final

from tasks.runtime.paths import Paths

DECISION: Final = "decision.json"
PAGE: Final = "index.html"
REPORT: Final = "report.html"
VERDICT_TAG: Final = "gate_verdict"
"""Tag of a registered version with the verdict of its last decision."""


def decision_folder(paths: Paths) -> Path:
    """Return the folder of the last decision of a checkout.

    It holds `decision.json`, `index.html`, and `report.html`, the build report with the decision as
    its first section.
    """
    return paths.run_folder("promotion")
