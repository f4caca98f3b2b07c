"""The terms of BEAT2: said once, and the acceptance kept as a file beside the data.

Nothing is fetched before they are accepted. The statements below are quoted from the places they
name.
"""

from pathlib import Path
from typing import Final

from mambatalk.files import atomic_file

ACCEPTED: Final = "LICENCE-ACCEPTED.txt"
NOTICE: Final = """\
BEAT2 (BEATX): speech and SMPL-X motion of 25 people. Its terms are stated in several places, which disagree:
  - the data set's page on the hub, H-Liu1997/BEAT2, carries the tag apache-2.0;
  - BEAT, from which it was made, is CC BY-NC 4.0 in its repository, whose author calls any non-commercial use fine
    and does not recommend commercial use;
  - the motion was fitted with SMPL-X, which is licensed for non-commercial research.
The reading that fits all three, and which you are asked to accept:
  - non-commercial research only;
  - cite BEAT (Liu et al., ECCV 2022) and EMAGE (Liu et al., CVPR 2024);
  - do not pass the files on, nor anything from which they could be restored.
The SMPL-X body model is no part of this: it comes from https://smpl-x.is.tue.mpg.de alone.
"""


def is_accepted(out: str | Path) -> bool:
    """Whether these very terms were accepted for the folder `out` before."""
    try:
        return (Path(out) / ACCEPTED).read_text(encoding="utf-8") == _record()
    except (OSError, UnicodeDecodeError):
        return False


def record_acceptance(out: str | Path) -> None:
    """Keep in `out` what was accepted."""
    with atomic_file(Path(out) / ACCEPTED) as temporary:
        temporary.write_text(_record(), encoding="utf-8")


def _record() -> str:
    return f"{NOTICE}\nAccepted by the person who ran `mambatalk download` into this folder.\n"
