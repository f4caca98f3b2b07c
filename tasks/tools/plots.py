"""DVC's plots as a page that opens offline: `python -m tasks.tools.plots`, or `python -m tasks.tools.plots diff
HEAD~1`.

DVC's own page loads Vega from a server and is blank without one; here the scripts stand in the
page.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

from mambatalk.files import atomic_file

OUT: Final = Path("runs/plots")
VEGA_LITE: Final = "5.8"
"""Oldest of those at hand, nearest to the 5.2 that DVC writes its plots for."""


def template() -> str:
    """DVC's page with Vega inside, in place of the addresses where it lies."""
    import vl_convert
    from dvc_render.html import PAGE_HTML

    scripts = vl_convert.javascript_bundle(vl_version=VEGA_LITE).replace("</script", r"<\/script")
    return PAGE_HTML.replace("{scripts}", f"<script>{scripts}</script>")


def main() -> None:
    """Call `dvc plots show`, or what the arguments say, with that page."""
    page = OUT / "template.html"
    with atomic_file(page) as temporary:
        temporary.write_text(template(), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "dvc",
        "plots",
        *(sys.argv[1:] or ["show"]),
        "--html-template",
        str(page.resolve()),
        "--out",
        str(OUT),
    ]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
