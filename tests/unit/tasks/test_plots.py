"""DVC's page of plots, with all that it needs inside."""

from dvc_render.html import HTML

from tasks.tools.plots import template


def test_the_page_holds_its_scripts_and_room_for_plots() -> None:
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
