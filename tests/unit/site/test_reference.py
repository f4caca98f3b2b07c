"""The generated reference pages are complete, and the page of variables follows the code."""

import re
from pathlib import Path

import numpy as np
import pytest
import typer
from ruamel.yaml import YAML

from mambatalk.cli import app
from mambatalk.evaluation.row import Row
from mambatalk.metrics.catalogue import CATALOGUE, EVENTS
from mambatalk.motion.skeleton import JOINT_COUNT
from tasks.site.reference import (
    PROFILES,
    commands_page,
    configuration_page,
    library_pages,
    metrics_page,
    parameters,
)
from tasks.tracking.store import flat

ROOT = Path(__file__).parents[3]
CODE = [
    path
    for folder in ("mambatalk", "tasks", "flows")
    for path in (ROOT / folder).rglob("*.py")
    if "chaos" not in path.parts
]


def test_every_command_has_a_section_with_its_options() -> None:
    page = commands_page()
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"## `mambatalk {name}`" in page
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.opts[0] in page


def test_every_parameter_has_a_meaning_and_a_range() -> None:
    assert [one.key for one in parameters() if not one.meaning or not one.values] == []
    numbers = [one for one in parameters() if re.search(r"number|integer$|integer ", one.values)]
    assert len(numbers) > 50
    # The ids of speakers are those of the corpus.
    assert [one.key for one in numbers if not re.search(r"[<>≤≥]", one.values)] == [
        "ingest.speakers"
    ]


def test_ranges_are_in_words() -> None:
    values = {one.key: one.values for one in parameters()}
    assert values["train_generator.betas"] == "list of 2: number ≥ 0, < 1"
    assert values["seed"] == "integer ≥ 0, < 4,294,967,296"
    assert values["check_clips.min_face_agreement"] == "number ≥ -1, ≤ 1"


def test_a_long_path_breaks_at_its_folders() -> None:
    assert "| <code>data/<wbr>sample/<wbr>corpus</code> |" in configuration_page(ROOT)


def test_a_document_that_a_parameter_names_is_a_link() -> None:
    assert "[fidelity.md](../fidelity.md) lists them. |" in configuration_page(ROOT)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_key_of_a_profile_is_a_listed_parameter(profile: str) -> None:
    values = YAML(typ="safe").load(ROOT / "infra" / "profiles" / f"{profile}.yaml")
    assert set(flat(values)) == {one.key for one in parameters()}


def test_the_configuration_has_the_values_of_all_profiles() -> None:
    row = next(
        line
        for line in configuration_page(ROOT).splitlines()
        if line.startswith("| `codebook_size`")
    )
    values = [
        YAML(typ="safe").load(ROOT / f"infra/profiles/{name}.yaml")["train_vq"]["common"]
        for name in PROFILES
    ]
    assert row.endswith(" | ".join(f"`{value['codebook_size']}`" for value in values) + " |")


def test_every_metric_is_listed() -> None:
    page = metrics_page()
    assert [key for key in CATALOGUE if f"| `{key}` |" not in page] == []


def test_the_formula_of_a_metric_is_that_of_the_class_that_computes_it() -> None:
    row = Row(np.ones(JOINT_COUNT), fgd_dim=4)
    computed = {
        key: type(next(iter(getattr(row, key).values())))
        for key in ("fgd", "bc", "l1div", "mse", "lvd", "srgr")
    }
    computed["kid"] = type(row.kid)
    computed |= {f"codes_{part}": type(metric) for part, metric in row.codes.items()}
    computed |= {key: type(metric) for key, metric in row.motion.items()}
    assert {*computed, *EVENTS} == set(CATALOGUE)

    lines = metrics_page().splitlines()
    for key, metric in computed.items():
        line = next(line for line in lines if line.startswith(f"| `{key}` |"))
        assert line.endswith(f"| [`{metric.__name__}`][mambatalk.metrics.{metric.__name__}] |")
        description = metric.__doc__ or ""
        assert "\n    Formula: " in description
        assert "\n    Source: " in description


def test_every_public_module_is_in_a_page_of_its_package() -> None:
    pages = library_pages()
    assert "::: mambatalk.motion.clip\n" in pages["motion.md"]
    assert "[`Synthesizer`][mambatalk.synthesis.synthesizer.Synthesizer]" in pages["index.md"]
    assert len(pages) > 20


def test_the_page_of_environment_variables_lists_all_and_no_others() -> None:
    readers = [*CODE, ROOT / "infra" / "prefect.yaml"]
    text = "".join(path.read_text(encoding="utf-8") for path in readers)
    used = set(re.findall(r"\bMAMBATALK_[A-Z_]+[A-Z]\b", text))
    page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(MAMBATALK_[A-Z_]+)`", page, re.MULTILINE))
    assert listed == used
