"""Switch `params.yaml` to a complete profile: `python -m tasks.tools.profile paper`."""

import sys
from pathlib import Path
from typing import Final

from mambatalk.config import load_config
from mambatalk.errors import InputError
from mambatalk.files import atomic_file
from tasks.tools.command import run_tool

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
    if name not in names:
        raise InputError(
            "make profile", f"expected {' or '.join(names)}, found P={name}", "name one of them"
        )
    source = folder / f"{name}.yaml"
    load_config(source)
    with atomic_file(root / "params.yaml") as temporary:
        temporary.write_bytes(source.read_bytes())


def main() -> None:
    """Switch and say so."""
    run_tool(lambda: switch(sys.argv[1] if len(sys.argv) > 1 else ""))
    sys.stdout.write(
        "params.yaml switched; `dvc repro` rebuilds what that changes, "
        "`git checkout params.yaml` undoes it\n"
    )


if __name__ == "__main__":
    main()
