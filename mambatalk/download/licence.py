"""The terms of BEAT2: shown once; the acceptance is recorded in a file beside the data.

Nothing is downloaded before the terms are accepted. The statements in the notice are quoted from
the places that it names.
"""

from pathlib import Path
from typing import Final

from mambatalk.files import atomic_file

ACCEPTED: Final = "LICENCE-ACCEPTED.txt"
NOTICE: Final = """\
BEAT2 (BEATX) contains speech and SMPL-X motion of 25 people. Its terms are stated in several
places that contradict each other:
  - the data set's page on the hub, H-Liu1997/BEAT2, has the tag apache-2.0;
  - BEAT, from which it was made, is CC BY-NC 4.0 in its repository, whose author permits any
    non-commercial use and does not recommend commercial use;
  - the motion was fitted with SMPL-X, which is licensed for non-commercial research.
You are asked to accept the interpretation that satisfies all three:
  - use the data for non-commercial research only;
  - cite BEAT (Liu et al., ECCV 2022) and EMAGE (Liu et al., CVPR 2024);
  - do not redistribute the files, or anything from which they could be restored.
The SMPL-X body model is not included. It is only available at https://smpl-x.is.tue.mpg.de.
"""


def is_accepted(out: str | Path) -> bool:
    """Return whether exactly these terms were accepted for the folder `out` before."""
    try:
        return (Path(out) / ACCEPTED).read_text(encoding="utf-8") == _acceptance_text()
    except (OSError, UnicodeDecodeError):
        return False


def record_acceptance(out: str | Path) -> None:
    """Write the accepted terms into the folder `out`."""
    with atomic_file(Path(out) / ACCEPTED) as temporary:
        temporary.write_text(_acceptance_text(), encoding="utf-8")


def _acceptance_text() -> str:
    return f"{NOTICE}\nAccepted by the person who ran `mambatalk download` into this folder.\n"
