"""The diagrams of docs/architecture.md are drawn from dvc.yaml and the imports."""

from pathlib import Path

import networkx as nx
import pytest

from tasks.tools import diagrams
from tasks.tools.diagrams import DOCUMENT, main, mermaid, package_graph, stage_graph, update

ROOT = Path(__file__).parents[3]


def test_stages_are_nodes_and_the_auto_encoders_are_one() -> None:
    graph = stage_graph(ROOT)
    assert "train_vq" in graph
    assert not [name for name in graph if "@" in name]
    assert nx.has_path(graph, "features", "report")
    assert ("features", "report") not in graph.edges, "it follows from other edges"


def test_packages_are_nodes_and_common_modules_are_left_out() -> None:
    graph = package_graph()
    assert {"flows", "tasks", "mambatalk.models", "mambatalk.motion"} <= set(graph)
    assert "mambatalk.errors" not in graph
    assert nx.has_path(graph, "tasks", "mambatalk.motion")


def test_a_graph_is_written_as_a_flowchart() -> None:
    graph = nx.DiGraph([("a.b", "d"), ("a.b", "c")])
    assert mermaid(graph).splitlines() == [
        "```mermaid",
        "flowchart TD",
        '    a_b["a.b"]',
        '    c["c"]',
        '    d["d"]',
        "    a_b --> c",
        "    a_b --> d",
        "```",
    ]


def test_text_between_the_markers_is_replaced() -> None:
    text = "before\n<!-- stages -->\nold\n<!-- /stages -->\nafter\n"
    expected = "before\n<!-- stages -->\nnew\n<!-- /stages -->\nafter\n"
    assert update(text, {"stages": "new"}) == expected
    with pytest.raises(ValueError, match="markers of the diagram packages"):
        update(text, {"packages": "new"})


def test_an_outdated_document_is_reported_and_then_updated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(diagrams, "stage_graph", lambda _: nx.DiGraph([("a", "b")]))
    monkeypatch.setattr(diagrams, "package_graph", lambda: nx.DiGraph([("c", "d")]))
    DOCUMENT.parent.mkdir()
    outdated = "<!-- stages --><!-- /stages -->\n<!-- packages --><!-- /packages -->\n"
    DOCUMENT.write_text(outdated)

    with pytest.raises(SystemExit, match="1"):
        main(check=True)
    assert DOCUMENT.read_text() == outdated
    main()
    assert "a --> b" in DOCUMENT.read_text()
    assert "c --> d" in DOCUMENT.read_text()
    assert capsys.readouterr().out.splitlines() == [
        "docs/architecture.md: its diagrams are outdated; run python -m tasks.tools.diagrams",
        "updated docs/architecture.md",
    ]
    main(check=True)
