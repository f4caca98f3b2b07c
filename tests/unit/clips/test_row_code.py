"""The ingest cache is emptied by exactly the code that makes a clip's rows."""

import ast
from collections.abc import Iterator
from pathlib import Path

import mambatalk
from mambatalk.clips import row_cache, shard_cache

PACKAGE = Path(mambatalk.__file__).parent
ROW_MAKERS = ("clips/reading.py", "clips/shards.py")
"""`read_clip` makes the rows of a clip, `ShardWriter` the bytes of a shard."""


def module_file(name: str) -> str | None:
    """Return the file of a project module relative to the package; None if it is not one."""
    path = PACKAGE.parent / f"{name.replace('.', '/')}.py"
    is_project_module = name.startswith("mambatalk.") and path.is_file()
    return path.relative_to(PACKAGE).as_posix() if is_project_module else None


def imported_files(file: str) -> Iterator[str]:
    """Yield the project modules that a module imports, also inside functions."""
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (found for name in names if (found := module_file(name)) is not None)


def import_closure(files: tuple[str, ...]) -> set[str]:
    closure: set[str] = set()
    to_visit = list(files)
    while to_visit:
        file = to_visit.pop()
        if file not in closure:
            closure.add(file)
            to_visit.extend(imported_files(file))
    return closure


def test_the_listed_code_is_what_the_row_maker_imports() -> None:
    """A missing module would leave stale rows; a module too many would empty the cache."""
    assert set(shard_cache.ROW_CODE) == import_closure(ROW_MAKERS)


def test_the_listed_code_is_what_makes_a_manifest_from_rows() -> None:
    listed = {*row_cache.MANIFEST_CODE, *shard_cache.ROW_CODE}
    assert import_closure(("clips/manifest.py",)) <= listed
    assert not set(row_cache.MANIFEST_CODE) & set(shard_cache.ROW_CODE)


def test_code_that_only_uses_rows_is_not_listed() -> None:
    unrelated = {"clips/manifest.py", "clips/store.py", "clips/ingest.py", "corpus/snapshot.py"}
    assert unrelated.isdisjoint(shard_cache.ROW_CODE)
