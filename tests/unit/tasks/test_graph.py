"""The graph is honest: what a stage imports and reads is what dvc.yaml says it depends on."""

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from mambatalk.config import Config, load_config
from tasks.runtime import paths as _paths
from tasks.runtime.view import restrict
from tasks.tools.graph import closure, mend, stage_module

ROOT = Path(__file__).parents[3]
STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
SECTIONS = {field.name for field in dataclasses.fields(Config)}


@pytest.fixture(autouse=True)
def _in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def declared(stage: str) -> list[str]:
    return [key.replace("${item.part}", "PART") for key in STAGES[stage]["params"]]


def read_keys(path: Path) -> set[str]:
    """Dotted keys read from a name `config` in one file: {"seed", "train_generator.lr"}."""
    keys = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        chain, inner = [], node
        while isinstance(inner, ast.Attribute):
            chain.insert(0, inner.attr)
            inner = inner.value
        if chain and chain[0] in SECTIONS and isinstance(inner, ast.Name) and inner.id == "config":
            keys.add(".".join(chain))
    return keys


def covers(key: str, names: list[str]) -> bool:
    return any(
        key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.") for name in names
    )


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_import_closure(stage: str) -> None:
    assert mend({stage: STAGES[stage]}) == [], "mend with `python -m tasks.tools.graph --write`"


@pytest.mark.parametrize("stage", STAGES)
def test_configuration_read_is_declared(stage: str) -> None:
    """What the stage's own module reads; what libraries read is held at run time, by a
    configuration that refuses.
    """
    undeclared = {
        key
        for key in read_keys(stage_module(STAGES[stage]["cmd"]))
        if not covers(key, declared(stage))
    }
    assert undeclared == set()


@pytest.mark.parametrize("stage", STAGES)
def test_declared_sections_are_read_somewhere(stage: str) -> None:
    read = {key for path in closure(stage_module(STAGES[stage]["cmd"])) for key in read_keys(path)}
    unread = {name for name in declared(stage) if not any(covers(name, [key]) for key in read)}
    assert unread == set()


def test_every_declared_parameter_exists() -> None:
    values = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    for stage, body in STAGES.items():
        for part in body.get("matrix", {}).get("part", [""]):
            for key in body["params"]:
                node: Any = values
                for word in key.replace("${item.part}", part).split("."):
                    assert word in node, f"{stage}: {key}"
                    node = node[word]


def test_every_parameter_belongs_to_a_stage() -> None:
    names = [key.split(".")[0] for body in STAGES.values() for key in body["params"]]
    assert set(names) == SECTIONS


def test_every_task_is_a_stage() -> None:
    modules = {path.stem for path in (ROOT / "tasks").glob("[a-z]*.py")}
    assert modules == set(STAGES)


def test_stages_write_where_others_look() -> None:
    outs: set[str] = set()
    for body in STAGES.values():
        for entry in [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]:
            outs.add(entry if isinstance(entry, str) else next(iter(entry)))
    for name, path in vars(_paths).items():
        if isinstance(path, Path):
            under = [
                out
                for out in outs
                if Path(out) == path or path in Path(out).parents or Path(out) in path.parents
            ]
            assert under, f"no stage writes {name} = {path}"


def test_a_stage_cannot_read_what_it_does_not_declare() -> None:
    view = restrict(load_config(), ["seed", "train_vq.common", "train_vq.global"])
    assert view.seed == load_config().seed
    assert view.train_vq.global_.layers == 4
    with pytest.raises(AttributeError, match=r"train_vq\.face is read"):
        _ = view.train_vq.face.layers
    with pytest.raises(AttributeError, match="render is read"):
        _ = view.render.clips


def test_the_closure_follows_lazy_imports_but_not_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tasks"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, text in {
        "a": "def run():\n    from tasks.b import f\n    return f\n",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tasks.c\nfrom tasks import d\nf = d\n",
        "c": "",
        "d": "",
    }.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert {path.stem for path in closure(Path("tasks/a.py"))} == {"__init__", "a", "b", "d"}


def test_mending_tells_and_keeps_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "x.py").write_text("import os\n")
    monkeypatch.chdir(tmp_path)
    stages = {"x": {"cmd": "python -m tasks.x", "deps": ["tasks/gone.py", "data/in"]}}
    assert mend(stages) == [
        "x: tasks/x.py is imported, but no dependency",
        "x: tasks/gone.py is a dependency, but not imported",
    ]
    assert stages["x"]["deps"] == ["tasks/x.py", "data/in"]


def test_the_generator_s_code_retrains_no_auto_encoder() -> None:
    for stage in ("train_vq", "train_fgd_encoder", "encode_codes", "features"):
        assert "mambatalk/models/generator/network.py" not in STAGES[stage]["deps"]
    for stage in ("train_generator", "bundle", "evaluate"):
        assert "mambatalk/models/generator/network.py" in STAGES[stage]["deps"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "infra/profiles").glob("*.yaml")), ids=lambda path: path.stem
)
def test_no_parameter_has_a_name_that_dvc_overlooks(path: Path) -> None:
    """DVC leaves keys `size` and `nfiles` out of what it finds earlier runs by: a change of them
    would run nothing.
    """

    def keys(value: Any) -> set[str]:
        return (
            set(value) | set().union(*map(keys, value.values()))
            if isinstance(value, dict)
            else set()
        )

    assert not keys(YAML(typ="safe", pure=True).load(path)) & {"size", "nfiles"}
