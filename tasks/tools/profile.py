"""Switch `params.yaml` to a profile of `infra/profiles`: `python -m tasks.tools.profile paper`.

A profile is a complete parameter file. `dvc repro` then rebuilds what the new values change.
"""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from mambatalk.config import load_config
from mambatalk.errors import InputError
from mambatalk.files import atomic_file
from tasks.runtime.command import run_command

PROFILES: Final = Path("infra/profiles")


def switch(name: str, root: Path = Path()) -> None:
    """Replace `params.yaml` with a profile.

    Args:
        name: File name of the profile without its suffix.
        root: Root of the checkout.

    Raises:
        InputError: There is no such profile, or it is not complete.

    """
    folder = root / PROFILES
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name.lower() not in names:
        raise InputError(
            "make profile", f"expected {' or '.join(names)}, found P={name}", "choose one of these"
        )
    source = folder / f"{name.lower()}.yaml"
    load_config(source)
    with atomic_file(root / "params.yaml") as temporary:
        temporary.write_bytes(source.read_bytes())


def command(
    name: Annotated[str, typer.Argument(help="Profile: clips, paper, sample, streaming or tiny.")],
) -> None:
    """Switch to a profile, and print how to undo it."""
    switch(name)
    sys.stdout.write(
        "params.yaml switched; `dvc repro` rebuilds what that changes, "
        "`git checkout params.yaml` undoes it\n"
    )


if __name__ == "__main__":
    run_command(command, "tasks.tools.profile", __doc__)
