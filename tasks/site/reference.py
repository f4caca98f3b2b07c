"""Write the reference pages of the documentation site from the code.

`tasks/site/hooks.py` calls these functions while the site is built, so that no page of them is
kept in git and none can be outdated.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Final

import griffe
import typer
from pydantic import TypeAdapter
from ruamel.yaml import YAML
from typer.cli import get_docs_for_click

from mambatalk.cli import app
from mambatalk.config import Config
from mambatalk.metrics.catalogue import CATALOGUE, EVENTS, KID, METRICS, MOTION, MetricInfo

PROFILES: Final = ("sample", "tiny", "clips", "paper")
"""Profiles in the order of the columns."""
UNLISTED: Final = frozenset({"mambatalk.cli", "mambatalk.viewer"})
"""Packages without functions to call from Python: a command line and a page."""

PACKAGES_NOTE: Final = (
    "The pages of this section describe all packages, from which you may import as well. What the "
    "public API does not list may change between releases."
)


@dataclass(frozen=True)
class Parameter:
    """One key of `params.yaml`.

    Args:
        key: Full name, such as `train_generator.lr`.
        meaning: The field's docstring in `mambatalk/config.py`.
        values: Type and range in words, such as "number > 0".

    """

    key: str
    meaning: str
    values: str


def commands_page() -> str:
    """Return the page of all commands: usage, arguments and options, as `--help` prints them."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="mambatalk")
    for one in getattr(command, "commands", {}).values():
        # In the list of commands, where click would cut sentences at 45 characters.
        one.short_help = (one.help or "").partition("\n")[0]
    text = get_docs_for_click(
        obj=command, ctx=context, name="mambatalk", title="The command line: `mambatalk`"
    )
    return text.strip() + "\n"


def configuration_page(root: Path) -> str:
    """Return the page of all parameters, with their values in each profile.

    Args:
        root: The repository, which holds `infra/profiles`.

    """
    yaml = YAML(typ="safe", pure=True)
    profiles = {name: yaml.load(root / "infra" / "profiles" / f"{name}.yaml") for name in PROFILES}
    lines = [
        "# Configuration: `params.yaml`",
        "",
        "Every parameter, with its type, its range and its value in each profile. "
        "`make profile P=NAME` copies a profile to `params.yaml`. A parameter has no default: "
        "a missing key is an error, and so is an unknown one. Settings that change no result are "
        "[environment variables](../environment.md).",
    ]
    section = None
    for parameter in parameters():
        head = parameter.key.rpartition(".")[0]
        if head != section:
            section = head
            lines += ["", *_section_heading(head)]
        cells = [
            f"`{parameter.key.removeprefix(f'{head}.')}`",
            parameter.meaning,
            parameter.values,
            *(f"`{_value(profiles[name], parameter.key)}`" for name in PROFILES),
        ]
        lines.append(_table_row(cells))
    return "\n".join(lines) + "\n"


def parameters() -> Iterator[Parameter]:
    """Yield every parameter in the order of `params.yaml`."""
    schema = TypeAdapter(Config).json_schema(by_alias=True)
    yield from _parameters_of(Config, schema, schema["$defs"], prefix="")


def metrics_page() -> str:
    """Return the page of the metrics: names, units, directions, formulas and sources."""
    groups: dict[str, Mapping[str, MetricInfo]] = {
        "Metrics of the field": METRICS,
        "Events of the embedded sample": EVENTS,
        "Distance of features": {KID.key: KID},
        "Motion, codes and ground contact": MOTION,
    }
    lines = [
        "# Metrics",
        "",
        f"The {len(CATALOGUE)} metrics of `metrics/metrics.json` and of `mambatalk evaluate`. "
        "Values in files are raw; tables print them in the unit that the heading names. "
        "Metrics of the field have the variants `published` and `corrected` "
        "([fidelity](../fidelity.md)); the others are `corrected` alone.",
    ]
    for title, metrics in groups.items():
        lines += ["", f"## {title}", ""]
        lines += [
            _table_row(["key", "heading in tables", "better", "depends on"]),
            "|---|---|---|---|",
        ]
        lines += [
            _table_row(
                [
                    f"`{metric.key}`",
                    metric.heading,
                    metric.better,
                    (metric.depends_on or "").replace("fgd_encoder", "FGD encoder"),
                ]
            )
            for metric in metrics.values()
        ]
    lines += [
        "",
        "## Formulas and sources",
        "",
        "::: mambatalk.metrics",
        "    options:",
        "      heading_level: 3",
        "      show_root_heading: false",
        "      show_root_toc_entry: false",
        "      members_order: alphabetical",
        "",
        "::: mambatalk.sample.score",
        "    options:",
        "      heading_level: 3",
        "      show_root_heading: false",
        "      show_root_toc_entry: false",
    ]
    return "\n".join(lines) + "\n"


def library_pages() -> dict[str, str]:
    """Return the pages of the Python library by file name: the public API, and each package."""
    library = _library()
    pages = {"index.md": _public_api(library)}
    for name in sorted(library.modules):
        module = library.modules[name]
        if module.path in UNLISTED or name.startswith("_"):
            continue
        lines = [f"# mambatalk.{name}", ""]
        for found in _documented_modules(module):
            level = 2 if found is not module or module.modules else 1
            lines += [
                f"::: {found.path}",
                "    options:",
                f"      heading_level: {level}",
                f"      show_root_heading: {str(level == 2).lower()}",
                "      show_root_full_path: true",
                "",
            ]
        pages[f"{name}.md"] = "\n".join(lines)
    return pages


@cache
def _library() -> griffe.Object:
    """Read the library's source, which takes seconds."""
    library = griffe.load("mambatalk", submodules=True)
    assert isinstance(library, griffe.Object)
    return library


def _public_api(library: griffe.Object) -> str:
    names = sorted(str(name) for name in library.exports or ())
    lines = [
        "# Python library",
        "",
        "The public API is what `mambatalk` itself exports:",
        "",
        "```python",
        f"from mambatalk import {', '.join(names)}",
        "```",
        "",
    ]
    for name in names:
        member = library.members[name]
        assert isinstance(member, griffe.Alias)
        target = member.target_path
        summary = _docstring(library, target).partition("\n")[0]
        lines.append(f"- [`{name}`][{target}]: {summary}")
    return "\n".join([*lines, "", PACKAGES_NOTE, ""])


def _docstring(library: griffe.Object, path: str) -> str:
    docstring = library[path.removeprefix("mambatalk.")].docstring
    return docstring.value if docstring else ""


def _documented_modules(module: griffe.Object) -> Iterator[griffe.Object]:
    """Yield a module and those inside it that define something public, in alphabetical order."""
    own = [
        member
        for name, member in module.members.items()
        if not name.startswith("_") and not member.is_alias and not member.is_module
    ]
    if own:
        yield module
    for _, inner in sorted(module.modules.items()):
        # A module that another one imports is not inside it.
        if not inner.is_alias:
            yield from _documented_modules(inner)


def _parameters_of(
    config: type, schema: Mapping[str, Any], definitions: Mapping[str, Any], *, prefix: str
) -> Iterator[Parameter]:
    source = _library()["config"]
    for field, (key, described) in zip(fields(config), schema["properties"].items(), strict=True):
        name = f"{prefix}{key}"
        if "$ref" in described:
            definition = definitions[described["$ref"].rpartition("/")[2]]
            inner = field.type.__origin__ if hasattr(field.type, "__origin__") else field.type
            assert isinstance(inner, type)
            yield from _parameters_of(inner, definition, definitions, prefix=f"{name}.")
            continue
        docstring = source.members[config.__name__].members[field.name].docstring
        meaning = " ".join(docstring.value.split()) if docstring else ""
        yield Parameter(name, meaning, _values_in_words(described))


def _values_in_words(schema: Mapping[str, Any]) -> str:
    """Describe the JSON schema of one parameter, such as "integer ≥ 1"."""
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_values_in_words(one) for one in schema["anyOf"])
    if "prefixItems" in schema:
        return f"{len(schema['prefixItems'])} numbers"
    if schema["type"] == "array":
        return f"list of {_values_in_words(schema['items'])}s"
    names = {"string": "text", "boolean": "true or false"}
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in bounds.items() if key in schema]
    return " ".join([names.get(schema["type"], schema["type"]), ", ".join(limits)]).strip()


def _section_heading(section: str) -> list[str]:
    docstring = _section_docstring(section)
    return [
        f"## {section or 'Top level'}",
        "",
        docstring,
        "",
        _table_row(["parameter", "meaning", "values", *PROFILES]),
        "|---|---|---|" + "---|" * len(PROFILES),
    ]


def _section_docstring(section: str) -> str:
    config: Any = Config
    for key in filter(None, section.split(".")):
        found = next(field for field in fields(config) if field.name.rstrip("_") == key)
        config = found.type.__origin__ if hasattr(found.type, "__origin__") else found.type
    return str(config.__doc__)


def _value(profile: Mapping[str, Any], key: str) -> str:
    value: Any = profile
    for name in key.split("."):
        value = value[name]
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table_row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
