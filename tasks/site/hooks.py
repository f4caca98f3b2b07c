"""Hooks of MkDocs: what the site has beyond the files of `docs/`. `mkdocs.yml` names this file.

- Reference pages are generated from the code (`tasks/site/reference.py`).
- The documents outside `docs/`, such as the changelog, become pages.
- The full name of a class of the library, such as `mambatalk.clips.store.ClipStore`, links to its
  reference.
- A block of commands that no test executes is labelled with what it needs, and one of the tutorial
  with the command that executes it.
- External links are listed in `external-links.txt` of the site, since nothing checks them.
"""

import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tasks.site.examples import examples_page
from tasks.site.reference import (
    commands_page,
    configuration_page,
    library_pages,
    metrics_page,
)

NEEDS: Final = {
    "needs-network": "the internet",
    "needs-minutes": "minutes of training",
    "needs-blender": "Blender",
    "needs-service": "a running service",
    "needs-corpus": "the whole BEATX corpus or one of the same size",
    "needs-smplx": "the licensed SMPL-X model",
    "needs-gpu": "a CUDA device",
    "needs-mfa": "the Montreal Forced Aligner",
    "needs-reference": "reference numbers or weights of the published implementation",
    "needs-cluster": "several machines",
    "needs-servers": "the servers of a team",
    "needs-docker": "Docker with Compose",
    "needs-kubernetes": "a Kubernetes cluster",
}
"""What a block of commands or code may need that no test has; written after its language."""
IN_TUTORIAL: Final = "in-tutorial"
"""Mark of a block that only `make test-tutorial` executes, since it takes minutes."""
OUTSIDE: Final = {
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "readme.md",
    "SECURITY.md": "security.md",
    "tests/README.md": "tests.md",
}
"""Documents outside `docs/`, and their pages in the site."""
MERMAID: Final = "assets/mermaid.tiny.js"
"""Draws the diagrams; 2.5 MB, so that only pages with a diagram load it."""
LIBRARY: Final = "reference/library/"
"""Entry of the navigation that stands for all pages of the Python library."""
_LINKS: set[str] = set()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace the entry of the Python library in the navigation by its pages."""
    pages = [f"{LIBRARY}{name}" for name in library_pages()]
    config.nav = _with_pages(config.nav, pages)
    return config


def _with_pages(nav: Any, pages: list[str]) -> Any:
    if isinstance(nav, list):
        return [_with_pages(entry, pages) for entry in nav]
    if isinstance(nav, dict):
        return {title: _with_pages(entry, pages) for title, entry in nav.items()}
    return pages if nav == LIBRARY else nav


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are not files of `docs/`."""
    root = Path(config.config_file_path).parent
    pages = {
        "examples.md": examples_page(root / "examples"),
        "reference/commands.md": commands_page(),
        "reference/configuration.md": configuration_page(root),
        "reference/metrics.md": metrics_page(),
    }
    pages |= {f"{LIBRARY}{name}": text for name, text in library_pages().items()}
    for source, page in OUTSIDE.items():
        text = (root / source).read_text(encoding="utf-8")
        # Their links to documents are relative to their own folder.
        text = re.sub(r"\]\((?:\.\./)*docs/", "](", text)
        pages[page] = text.replace("](examples/README.md)", "](examples.md)")
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    _LINKS.clear()
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Label blocks that no test executes; add links to the reference; adapt links to documents."""
    del page, config, files
    for mark, meaning in NEEDS.items():
        title = f'title="Needs {meaning}; not executed by the tests"'
        markdown = re.sub(rf"^```(bash|python) {mark}$", rf"```\1 {title}", markdown, flags=re.M)
    markdown = markdown.replace(
        f"```bash {IN_TUTORIAL}\n",
        '```bash title="Takes minutes; executed by make test-tutorial"\n',
    )
    markdown = re.sub(r"\[([^]]+)\]\((?:\.\./)*(?:LICENSE|CITATION\.cff)\)", r"\1", markdown)
    markdown = re.sub(r"`(mambatalk\.[a-z_.]+\.[A-Z]\w*)`", r"[`\1`][\1]", markdown)
    for source, name in OUTSIDE.items():
        markdown = re.sub(rf"\]\((?:\.\./)*{re.escape(source)}", f"]({name}", markdown)
    return markdown


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Collect the external links of a page."""
    del config, files
    if page.file.src_uri.startswith(LIBRARY):
        return html
    _LINKS.update(re.findall(r'href="(https?://[^"]+)"', html))
    return html


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Load the drawing of diagrams in pages that have one."""
    del config
    if 'class="mermaid"' not in output:
        return output
    depth = page.url.count("/")
    script = f'<script src="{"../" * depth}{MERMAID}"></script>'
    return output.replace("</head>", f"{script}</head>", 1)


def on_post_build(*, config: MkDocsConfig) -> None:
    """Write the list of external links."""
    lines = "".join(f"{link}\n" for link in sorted(_LINKS))
    Path(config.site_dir, "external-links.txt").write_text(lines, encoding="utf-8")
