"""Hooks of the site: what they change in a page."""

from typing import Any

from tasks.site.hooks import on_page_markdown, on_post_page

UNUSED: Any = None


def changed(markdown: str) -> str:
    return on_page_markdown(markdown, page=UNUSED, config=UNUSED, files=UNUSED)


def test_a_block_that_is_not_executed_says_what_it_needs() -> None:
    page = changed("```bash needs-network\nmambatalk download /data\n```\n")
    assert page.startswith('```bash title="Needs the internet; not executed by the tests"\n')


def test_a_block_of_the_tutorial_names_its_test() -> None:
    page = changed("```bash in-tutorial\npython -m flows.promote\n```\n")
    assert page.startswith('```bash title="Takes minutes; executed by make test-tutorial"\n')


def test_names_of_classes_link_to_the_reference() -> None:
    name = "mambatalk.clips.store.ClipStore"
    assert changed(f"`{name}` and `mambatalk.clips`") == f"[`{name}`][{name}] and `mambatalk.clips`"


def test_links_to_documents_outside_lead_to_their_pages() -> None:
    assert changed("[how](../tests/README.md#helpers)") == "[how](tests.md#helpers)"
    assert changed("[how](CONTRIBUTING.md)") == "[how](contributing.md)"
    assert changed("[GPU](../README.md#gpu)") == "[GPU](readme.md#gpu)"


def test_only_pages_with_a_diagram_load_its_script() -> None:
    class Page:
        url = "how-to/stage.html"

    plain = "<head></head><body>text</body>"
    drawn = '<head></head><pre class="mermaid"><code>flowchart TD</code></pre>'
    assert on_post_page(plain, page=Page(), config=UNUSED) == plain  # type: ignore[arg-type]
    page = on_post_page(drawn, page=Page(), config=UNUSED)  # type: ignore[arg-type]
    assert '<script src="../assets/mermaid.tiny.js"></script></head>' in page
