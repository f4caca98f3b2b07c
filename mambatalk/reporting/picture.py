"""Figures by matplotlib as SVG inside a page, in the page's colours, for light and dark alike.

The same data give the same bytes: no date, no version, no random identifier.
"""

import base64
import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

INK, SOFT, LINE = "#1b2330", "#596579", "#e2e0da"
MODEL, BASE, BAD = "#3f6fb0", "#9aa3b0", "#b3261e"
_VARIABLES: Final = {
    INK: "ink",
    SOFT: "soft",
    LINE: "line",
    MODEL: "model",
    BASE: "base",
    BAD: "bad",
}
"""Variables of style.css, by the colour that is replaced by them after drawing."""
_INCH: Final = 72
_SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "page",
    "text.parse_math": False,
    "font.size": 9.0,
    "text.color": SOFT,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}


def draw(paint: Callable[["Axes"], None], *, width: float, height: float, label: str) -> "Markup":
    """Draw a figure with one pair of axes.

    Args:
        paint: Draws on the axes, with the colours of this module.
        width: Width in pixels; the page may scale the figure.
        height: Height in pixels.
        label: Description for screen readers.

    Returns:
        An `<svg>` element.

    """
    from markupsafe import Markup, escape
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.style import context

    # The defaults first, because a user may have a matplotlibrc. Matplotlib warns that its own font
    # has no Chinese characters, but the page's reader draws the text with fonts of its own.
    with context(["default", _SETTINGS]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(width / _INCH, height / _INCH))
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        paint(axes)
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(
            file, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    return Markup(f'<svg role="img" aria-label="{escape(label)}"' + _embeddable(file.getvalue()))


def _embeddable(document: str) -> str:
    """Return the content of an SVG document without its first tag, for use inside a page.

    A page has a hundred figures, so what makes no difference to the eye is left out, about half of
    its bytes.
    """
    body = document[document.index("<svg") + len("<svg") :]
    # The page sets the size. Identifiers and global styles would affect the rest of the page.
    body = re.sub(r' (width|height)="[\d.]+pt"', "", body, count=2)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(
        r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL
    )
    # Invisible patches, rotations by nothing, and fonts, which the page sets.
    body = re.sub(r'<path [^>]*style="fill: none; opacity: 0"/>', "", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    body = body.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace("xlink:", "")
    body = re.sub(r" font-family: 'DejaVu Sans'[^;\"]*;", "", body)
    body = re.sub(r"<[^>]*>", _round_numbers, body)
    body = re.sub(r' d="[^"]*"', _shorten_path, body)
    body = _MARKERS.sub(_share_style, _without_plain_groups(body))
    for colour, name in _VARIABLES.items():
        body = body.replace(colour, f"var(--{name})")
    return " " + re.sub(r"\s*\n\s*", "\n", body).strip()


_MARKERS: Final = re.compile(
    r'(?P<first><use [^>]*?(?P<style> style="[^"]*")/>)(?:\s*<use [^>]*?(?P=style)/>)+'
)
"""Markers of one curve, which have the same style."""


def _share_style(markers: re.Match[str]) -> str:
    return f"<g{markers['style']}>{markers[0].replace(markers['style'], '')}</g>"


def _without_plain_groups(body: str) -> str:
    """Return a document without groups that have no attributes, which change nothing."""
    kept: list[bool] = []

    def replace(tag: re.Match[str]) -> str:
        text = tag[0]
        if text == "<g/>":
            return ""
        if text == "</g>":
            return text if kept.pop() else ""
        kept.append(text != "<g>")
        return text if kept[-1] else ""

    return re.sub(r"<g/>|</g>|<g(?: [^>]*)?>", replace, body)


def _round_numbers(tag: re.Match[str]) -> str:
    """Round the numbers of a tag to 0.1 pixels, less than a page can show."""
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), tag[0])


def _shorten_path(path: re.Match[str]) -> str:
    """Leave out line commands after the first point, which SVG assumes."""
    return re.sub(r"\s+", " ", path[0].replace("\nL ", " ")).replace(' "', '"')


def embed_picture(webp: bytes, *, label: str) -> "Markup":
    """Return an `<img>` element that holds a WebP file.

    Args:
        webp: Content of the file.
        label: Description for screen readers.

    """
    from markupsafe import Markup, escape

    data = base64.b64encode(webp).decode()
    return Markup(f'<img alt="{escape(label)}" src="data:image/webp;base64,{data}">')
