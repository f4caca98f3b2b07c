"""The page of DVC's plots contains the scripts it needs."""

from dvc_render.html import HTML

from tasks.tools.plots import template


def test_the_page_contains_its_scripts_and_the_plots() -> None:
    page = (
        HTML(template())
        .with_scripts('<script src="https://elsewhere"></script>')
        .with_element("PLOT")
        .embed()
    )
    assert "elsewhere" not in page
    assert "PLOT" in page
    assert "window.vegaEmbed=" in page
    assert page.count("</script") == 1
