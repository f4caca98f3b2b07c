"""dvc.yaml declares what each stage imports and reads, and nothing else."""

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from mambatalk.config import Config, load_config
from tasks.runtime.paths import Paths
from tasks.runtime.view import restrict
from tasks.tools import graph as _graph
from tasks.tools.graph import PLUMBING, check, find_differences, imported_files, stage_module

ROOT = Path(__file__).parents[3]
GRAPH = ROOT / "dvc.yaml"
STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load(GRAPH)["stages"]
SECTIONS = {field.name for field in dataclasses.fields(Config)}


@pytest.fixture(autouse=True)
def _in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def stage_file(stage: str) -> Path:
    return Path(*stage_module(STAGES[stage]["cmd"]).split(".")).with_suffix(".py")


def declared(stage: str) -> list[str]:
    return [key.replace("${item.part}", "PART") for key in STAGES[stage]["params"]]


def read_keys(path: Path) -> set[str]:
    """Dotted keys read from `config` or `context.config` in one file, such as "seed" and
    "train_generator.lr".
    """
    keys = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        chain: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            chain.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            chain.insert(0, inner.id)
        if chain[:1] == ["context"]:
            chain = chain[1:]
        if chain[:1] == ["config"] and len(chain) > 1 and chain[1] in SECTIONS:
            keys.add(".".join(chain[1:]))
    return keys


def covers(key: str, names: list[str]) -> bool:
    return any(
        key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.") for name in names
    )


def test_code_dependencies_agree_with_the_imports() -> None:
    assert find_differences(STAGES) == []


def test_differences_are_printed_and_give_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_graph, "find_differences", lambda _: ["ingest: one", "features: two"])
    with pytest.raises(typer.Exit) as end:
        check()
    assert end.value.exit_code == 1
    assert capsys.readouterr().out == "ingest: one\nfeatures: two\n"

    monkeypatch.setattr(_graph, "find_differences", lambda _: [])
    with pytest.raises(typer.Exit) as end:
        check()
    assert end.value.exit_code == 0


def test_the_graph_can_be_read_by_a_person() -> None:
    assert len(GRAPH.read_text(encoding="utf-8").splitlines()) <= 300


def test_lazy_imports_are_dependencies() -> None:
    """The stage `features` imports the library inside `run` alone."""
    assert Path("mambatalk/features/build.py") in imported_files("tasks.features")


def test_imports_of_plumbing_are_not_followed() -> None:
    """Every stage loads the configuration, and with it the names of both fidelities."""
    files = imported_files("tasks.ingest")
    assert Path("tasks/runtime/stage.py") in files
    assert Path("mambatalk/fidelity.py") not in files


def test_imports_for_type_checkers_are_not_dependencies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import grimp

    package = tmp_path / "toy"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import toy.b\n"
    )
    (package / "b.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    graph = grimp.build_graph("toy", exclude_type_checking_imports=True, cache_dir=None)
    assert graph.find_modules_directly_imported_by("toy.a") == set()


def one_stage(*deps: str) -> dict[str, Any]:
    return {"encode_codes": {"cmd": "exec python -m tasks.encode_codes", "deps": list(deps)}}


def differences(*deps: str) -> list[str]:
    """Differences of a stage `encode_codes` that declares `deps`, entries of PLUMBING aside."""
    return [line for line in find_differences(one_stage(*deps)) if "PLUMBING" not in line]


def test_an_import_without_a_dependency_is_found() -> None:
    deps = STAGES["encode_codes"]["deps"]
    without = [entry for entry in deps if entry != "mambatalk/models/vq"]
    assert differences(*deps) == []
    assert (
        "encode_codes: imports mambatalk/models/vq/vqvae.py, which no dependency covers; "
        "add mambatalk/models/vq to its deps" in differences(*without)
    )


def test_a_dependency_without_an_import_is_found() -> None:
    deps = STAGES["encode_codes"]["deps"]
    assert differences(*deps, "mambatalk/rendering") == [
        "encode_codes: depends on mambatalk/rendering, but does not import it; remove it"
    ]


def test_a_dependency_inside_another_is_found() -> None:
    deps = STAGES["encode_codes"]["deps"]
    assert differences(*deps, "mambatalk/motion/skeleton.py") == [
        "encode_codes: depends on mambatalk/motion/skeleton.py and on a folder above it; remove one"
    ]


def test_plumbing_that_nothing_imports_is_found() -> None:
    lines = find_differences(one_stage(*STAGES["encode_codes"]["deps"]))
    assert any("no stage imports mambatalk/executors.py" in line for line in lines)


def test_a_stage_without_a_module_is_found() -> None:
    (line,) = [
        line
        for line in find_differences({"x": {"cmd": "exec python -m tasks.x", "deps": []}})
        if line.startswith("x")
    ]
    assert line == "x: expected a module tasks.x, found none"


def test_what_changes_results_is_not_left_out() -> None:
    """Seeds and deterministic algorithms decide results, and so does every network."""
    for path in ("mambatalk/runtime.py", "mambatalk/models/vq", "mambatalk/training/loop.py"):
        assert not any(Path(path).is_relative_to(entry) for entry in PLUMBING)


@pytest.mark.parametrize("stage", STAGES)
def test_configuration_read_is_declared(stage: str) -> None:
    """Covers the stage's own module; at run time, undeclared sections refuse to be read."""
    undeclared = {key for key in read_keys(stage_file(stage)) if not covers(key, declared(stage))}
    assert undeclared == set()


@pytest.mark.parametrize("stage", STAGES)
def test_declared_sections_are_read_somewhere(stage: str) -> None:
    files = imported_files(stage_module(STAGES[stage]["cmd"]))
    read = {key for path in files for key in read_keys(path)}
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
    # The rules of the promotion gate: changing them must rerun nothing.
    assert set(names) == SECTIONS - {"promotion"}


def test_every_task_is_a_stage() -> None:
    modules = {path.stem for path in (ROOT / "tasks").glob("[a-z]*.py")}
    assert modules == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_enters_the_run_cache(stage: str) -> None:
    """DVC leaves a stage out of its run cache if one of its `outs` (not metrics or plots) has
    `cache: false`; see `no_cache_outs` in `dvc.stage.Stage.run`.
    """
    options = [entry for entry in STAGES[stage]["outs"] if isinstance(entry, dict)]
    assert options == []


def test_every_path_of_the_code_is_under_an_output() -> None:
    outs: set[str] = set()
    for body in STAGES.values():
        for entry in [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]:
            outs.add(entry if isinstance(entry, str) else next(iter(entry)))
    for name, path in vars(Paths()).items():
        if name in ("root", "params", "runs", "decisions"):
            continue
        related = [
            out for out in map(Path, outs) if path.is_relative_to(out) or out.is_relative_to(path)
        ]
        assert related, f"no stage writes {name} = {path}"


def test_a_stage_cannot_read_what_it_does_not_declare() -> None:
    view = restrict(load_config(), ["seed", "train_vq.common", "train_vq.global"])
    assert view.seed == load_config().seed
    assert view.train_vq.global_.layers == 4
    with pytest.raises(AttributeError, match=r"train_vq\.face is read"):
        _ = view.train_vq.face.layers
    with pytest.raises(AttributeError, match="render is read"):
        _ = view.render.clips


@pytest.mark.parametrize(
    "path", sorted((ROOT / "infra/profiles").glob("*.yaml")), ids=lambda path: path.stem
)
def test_no_parameter_has_a_name_that_dvc_overlooks(path: Path) -> None:
    """DVC ignores keys `size` and `nfiles` when it compares with `dvc.lock`, so that a change of
    their values would rerun nothing.
    """

    def keys(value: Any) -> set[str]:
        if not isinstance(value, dict):
            return set()
        return set(value).union(*map(keys, value.values()))

    assert not keys(YAML(typ="safe", pure=True).load(path)) & {"size", "nfiles"}
