"""The viewer's page as one document that needs no server, for a report."""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from mambatalk.motion.skeleton import JOINTS, PART_JOINTS

SCRIPTS: Final = {
    '<script src="three.js"></script>': ("<script>", "three.js"),
    '<script type="module" src="page.js"></script>': ('<script type="module">', "page.js"),
}
"""How the page loads a script, and how it begins where the script is part of the page."""
STYLE: Final = '<link rel="stylesheet" href="page.css">'


def page_index(clips: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the page loads first: all clips, and the part of the body of each joint."""
    parts = {JOINTS[joint]: part for part, joints in PART_JOINTS.items() for joint in joints}
    return {"clips": list(clips), "parts": parts}


def standalone_page(clips: Sequence[dict[str, Any]]) -> str:
    """Return the page with its styles, scripts and clips.

    Args:
        clips: Results of `embedded_clip`.

    """
    page = _static("index.html").replace(STYLE, f"<style>\n{_static('page.css')}</style>")
    for tag, (start, name) in SCRIPTS.items():
        page = page.replace(tag, f"{start}{_static(name)}</script>")
    # The text of a word could contain `</script>`, which would end the element.
    index = json.dumps(page_index(clips)).replace("<", "\\u003c")
    return page.replace(
        "<main>", f'<script type="application/json" id="clips">{index}</script>\n<main>', 1
    )


def script_hashes() -> list[str]:
    """Return the hashes by which a Content-Security-Policy allows the scripts of the page."""
    return [script_hash(_static(name)) for _, name in SCRIPTS.values()]


def script_hash(script: str) -> str:
    """Return the source expression of a Content-Security-Policy that allows an inline script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _static(name: str) -> str:
    return files("mambatalk.viewer").joinpath("static", name).read_text(encoding="utf-8")
