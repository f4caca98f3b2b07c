"""Draw the stage graph and the package graph of docs/architecture.md from the code.

`python -m tasks.tools.diagrams` updates both; with `--check` it changes nothing and exits with 1 if
one of them is outdated, as `make lint` does.
"""

import sys
from pathlib import Path
from typing import Annotated, Final

import grimp
import networkx as nx
import typer
from dvc.repo import Repo

from tasks.runtime.command import run_command

DOCUMENT: Final = Path("docs/architecture.md")
COMMON: Final = {
    "mambatalk",
    *(f"mambatalk.{name}" for name in ("config", "errors", "executors", "fidelity", "files")),
    "mambatalk.runtime",
}
"""Modules that most packages import. Without them the diagram shows what matters."""
DOCUMENTATION: Final = "tasks.site"
"""Reads the whole library to describe it, so that its imports say nothing about the stages."""


def stage_graph(root: Path) -> nx.DiGraph:
    """Build the graph of DVC stages, with edges from a stage to those that read its outputs.

    The five `train_vq@PART` stages become one node, since they differ in their part alone.

    Args:
        root: Folder that holds dvc.yaml.

    Returns:
        Directed graph of stage names, without edges that follow from others.

    """
    graph = nx.DiGraph()
    with Repo(str(root)) as repo:
        for stage, dependency in repo.index.graph.edges:
            # DVC's edges point from a stage to what it depends on.
            graph.add_edge(_base_name(dependency.addressing), _base_name(stage.addressing))

    return nx.transitive_reduction(graph)


def package_graph() -> nx.DiGraph:
    """Build the graph of packages, with edges from an importer to what it imports.

    Imports for type annotations alone are left out; imports inside functions count.

    Returns:
        Directed graph of names such as "mambatalk.clips", "tasks" and "flows", without edges
        that follow from others.

    """
    imports = grimp.build_graph(
        "mambatalk", "tasks", "flows", exclude_type_checking_imports=True, cache_dir=None
    )
    graph = nx.DiGraph()
    for module in imports.modules:
        if module.startswith(DOCUMENTATION):
            continue
        importer = _package(module)
        for imported in imports.find_modules_directly_imported_by(module):
            if importer != _package(imported):
                graph.add_edge(importer, _package(imported))

    graph.remove_nodes_from(COMMON)
    return nx.transitive_reduction(graph)


def mermaid(graph: nx.DiGraph) -> str:
    """Write a graph as a Mermaid flowchart, which GitHub and most Markdown viewers draw."""
    names = list(nx.lexicographical_topological_sort(graph))
    lines = ["```mermaid", "flowchart TD"]
    lines += [f'    {_identifier(name)}["{name}"]' for name in names]
    lines += [
        f"    {_identifier(source)} --> {_identifier(target)}"
        for source in names
        for target in sorted(graph.successors(source))
    ]
    return "\n".join([*lines, "```"])


def update(text: str, diagrams: dict[str, str]) -> str:
    """Replace the diagrams of a document, each between `<!-- NAME -->` and `<!-- /NAME -->`.

    Args:
        text: The document.
        diagrams: Markdown of each diagram by name.

    Returns:
        The document with its diagrams replaced.

    Raises:
        ValueError: A marker is missing.

    """
    for name, diagram in diagrams.items():
        head, opening, rest = text.partition(f"<!-- {name} -->")
        _, closing, tail = rest.partition(f"<!-- /{name} -->")
        if not opening or not closing:
            raise ValueError(f"{DOCUMENT} lacks the markers of the diagram {name}")
        text = f"{head}{opening}\n{diagram}\n{closing}{tail}"

    return text


def _base_name(stage: str) -> str:
    return stage.partition("@")[0]


def _package(module: str) -> str:
    """Name the package of a module: two levels in the library, one outside of it."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "mambatalk" else parts[0]


def _identifier(name: str) -> str:
    return name.replace(".", "_")


def main(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if a diagram is outdated.")
    ] = False,
) -> None:
    """Update the diagrams of docs/architecture.md from dvc.yaml and the imports."""
    text = DOCUMENT.read_text(encoding="utf-8")
    diagrams = {"stages": mermaid(stage_graph(Path())), "packages": mermaid(package_graph())}
    updated = update(text, diagrams)
    if updated == text:
        return

    if check:
        typer.echo(f"{DOCUMENT}: its diagrams are outdated; run python -m tasks.tools.diagrams")
        sys.exit(1)

    DOCUMENT.write_text(updated, encoding="utf-8")
    typer.echo(f"updated {DOCUMENT}")


if __name__ == "__main__":
    run_command(main, "tasks.tools.diagrams", __doc__)
