"""Write DVC's plots as a page that needs no network: `python -m tasks.tools.plots [ARGUMENTS]`.

The arguments are those of `dvc plots`, "show" by default; "diff HEAD~1" compares two commits. DVC's
own page loads Vega from a server and is blank without one. Here the scripts are in the page.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from mambatalk.files import atomic_file
from tasks.runtime.command import run_command

OUT: Final = Path("runs/plots")
VEGA_LITE: Final = "5.8"
"""The oldest version in vl-convert, closest to the 5.2 that DVC writes its plots for."""


def template() -> str:
    """Return DVC's page template with the Vega scripts in place of their addresses."""
    import vl_convert
    from dvc_render.html import PAGE_HTML

    scripts = vl_convert.javascript_bundle(vl_version=VEGA_LITE).replace("</script", r"<\/script")
    return PAGE_HTML.replace("{scripts}", f"<script>{scripts}</script>")


def command(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Arguments of `dvc plots`; default: show.")
    ] = None,
) -> None:
    """Run `dvc plots` with that template."""
    page = OUT / "template.html"
    with atomic_file(page) as temporary:
        temporary.write_text(template(), encoding="utf-8")
    dvc_plots = [sys.executable, "-m", "dvc", "plots", *(arguments or ["show"])]
    options = ["--html-template", str(page.resolve()), "--out", str(OUT)]
    sys.exit(subprocess.run([*dvc_plots, *options], check=False).returncode)


if __name__ == "__main__":
    run_command(command, "tasks.tools.plots", __doc__, pass_options=True)
