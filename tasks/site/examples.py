"""Write the page of the examples: their table, and the source of each."""

import json
import re
from pathlib import Path


def examples_page(folder: Path) -> str:
    """Return `examples/README.md` followed by every example.

    Args:
        folder: The folder `examples`.

    """
    table = (folder / "README.md").read_text(encoding="utf-8")
    names = re.findall(r"\]\(([\w.]+)\)", table)
    for name in names:
        # Anchors have neither dots nor capitals.
        table = table.replace(f"]({name})", f"](#{name.replace('.', '')})")
    return "\n".join([table, *(_section(folder / name) for name in names)])


def _section(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return f"## {path.name}\n\n```python\n{text}```\n"
    cells = json.loads(text)["cells"]
    return f"## {path.name}\n\n" + "\n\n".join(map(_cell, cells)) + "\n"


def _cell(cell: dict[str, object]) -> str:
    source = cell["source"]
    assert isinstance(source, list)
    text = "".join(source)
    if cell["cell_type"] == "code":
        return f"```python\n{text}\n```"
    return re.sub(r"^# (.+)$", r"**\1**", text, flags=re.MULTILINE)
