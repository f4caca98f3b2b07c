"""The page of the examples shows the source of each."""

from pathlib import Path

from tasks.site.examples import examples_page

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_page_has_every_example_and_links_to_it() -> None:
    page = examples_page(EXAMPLES)
    assert "[wav_to_glb.py](#wav_to_glbpy)" in page
    for path in EXAMPLES.glob("*.py"):
        assert f"## {path.name}\n\n```python\n{path.read_text(encoding='utf-8')}```" in page
    assert "## look_at_motion.ipynb" in page
    assert "def speeds(motion: SmplxMotion)" in page
