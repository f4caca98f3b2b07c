"""Where the gate leaves its last decision."""

from pathlib import Path
from typing import Final

from tasks.runtime.paths import Paths

DECISION: Final = "decision.json"
PAGE: Final = "index.html"


def decision_folder(paths: Paths) -> Path:
    """Return the folder of the last decision of a checkout: `decision.json` and `index.html`."""
    return paths.run_folder("promotion")
