"""Commits, `make lint` and CI run the same checks."""

import re
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]


def hook_commands() -> list[str]:
    config = YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")
    return [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]


def lint_commands() -> list[str]:
    (lint,) = recipe("lint")
    types, style = lint.split()[-2:]
    return recipe(types) + recipe(style)


def recipe(target: str) -> list[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(rf"^{target}:.*\n((?:\t.*\n?)+)", makefile, re.MULTILINE)
    assert found, f"Makefile has no target {target}"
    return [line.strip().lstrip("@") for line in found[1].splitlines()]


def test_pre_commit_runs_what_make_lint_runs() -> None:
    # pre-commit appends the changed files; make checks the whole tree.
    hooks = {entry.replace(" --force-exclude", "") for entry in hook_commands()}
    assert hooks == {command.removesuffix(" .") for command in lint_commands()}


def test_make_test_and_ci_include_lint() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^test:.*\blint\b", makefile, re.MULTILINE)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert {"make test", "make test-slow"} <= set(ci)
