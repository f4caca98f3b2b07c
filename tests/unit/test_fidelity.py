"""The rules behind `fidelity`; what each one does is tested beside the code that reads it."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from mambatalk.fidelity import CORRECTED, PUBLISHED, FidelityRules

ROOT = Path(__file__).parents[2]


def test_the_two_values_differ_in_every_rule() -> None:
    for field in fields(FidelityRules):
        assert getattr(CORRECTED, field.name) is True
        assert getattr(PUBLISHED, field.name) is False


def test_an_unknown_value_is_rejected() -> None:
    with pytest.raises(ValueError, match="expected published or corrected, found 'ours'"):
        FidelityRules.of("ours")  # type: ignore[arg-type]


def test_every_rule_is_read_and_no_code_compares_the_string() -> None:
    sources = [path for room in ("mambatalk", "tasks") for path in (ROOT / room).rglob("*.py")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sources]
    nodes = [node for tree in trees for node in ast.walk(tree)]

    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert {field.name for field in fields(FidelityRules)} <= attributes

    compared = {ast.unparse(node.left) for node in nodes if isinstance(node, ast.Compare)}
    in_fidelity_module = {"fidelity"}
    assert not {name for name in compared if name.endswith("fidelity")} - in_fidelity_module
