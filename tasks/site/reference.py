"""Write the reference pages of the documentation site from the code.

`tasks/site/hooks.py` calls these functions while the site is built, so that no page of them is
kept in git and none can be outdated.
"""

import html
import re
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
METRIC_CLASSES: Final[Mapping[str, str]] = {
    "fgd": "FrechetGestureDistance",
    "bc": "BeatConsistency",
    "l1div": "L1Diversity",
    "mse": "FaceMSE",
    "lvd": "LVD",
    "srgr": "SRGR",
    "kid": "KernelDistance",
    "codes": "CodePerplexity",
    "range": "MotionRange",
    "speed": "MotionSpeed",
    "jerk": "MotionJerk",
    "correlation": "MotionCorrelation",
    "posture": "PostureError",
    "root_drift": "RootDrift",
    "height_error": "HeightError",
    "foot_skating": "FootSkating",
    "skating_ratio": "FootSkatingRatio",
    "penetration": "FloorPenetration",
    "penetration_deepest": "DeepestPenetration",
}
"""Class that computes each metric, by its key or by what precedes the part of the body in it."""
EVENT_FUNCTIONS: Final[Mapping[str, str]] = {
    "event_f1": "event_f1",
    "event_f1_lower": "lower_event_f1",
}
"""Functions of `mambatalk.sample.score` that compute the scores of events."""
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
    for subcommand in getattr(command, "commands", {}).values():
        # In the list of commands, where click would cut sentences at 45 characters.
        subcommand.short_help = (subcommand.help or "").partition("\n")[0]
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
            # The name of a document, in the dataclass, is a link in the page.
            re.sub(r"docs/([\w-]+\.md)", r"[\1](../\1)", parameter.meaning),
            parameter.values,
            *(_code(_value(profiles[name], parameter.key)) for name in PROFILES),
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
        "Values in files are raw; tables print them in the unit that the heading names: a raw FGD "
        "of 0.16 is 1.6 under *FGD (1e-1)*. The last column leads to the formula and its source. "
        "Metrics of the field have the variants `published` and `corrected` "
        "([fidelity](../fidelity.md)); the others are `corrected` alone.",
    ]
    for title, metrics in groups.items():
        lines += ["", f"## {title}", ""]
        lines += [
            _table_row(["key", "heading in tables", "better", "depends on", "formula"]),
            "|---|---|---|---|---|",
        ]
        lines += [
            _table_row(
                [
                    f"`{metric.key}`",
                    metric.heading,
                    metric.better,
                    (metric.depends_on or "").replace("fgd_encoder", "FGD encoder"),
                    _formula_link(metric.key),
                ]
            )
            for metric in metrics.values()
        ]
    shown = ["heading_level: 3", "show_root_heading: false", "show_root_toc_entry: false"]
    lines += [
        "",
        "## Formulas and sources",
        "",
        "Motion has 30 frames per second; positions are in metres. FGD, KID and the deepest "
        "penetration are computed over all clips at once, the others for each clip; tables have "
        "the mean over clips, weighted by their frames. "
        "`published` and `evaltools` describe how the public evaluators differ from the formula.",
        "",
        "::: mambatalk.metrics",
        "    options:",
        *(f"      {option}" for option in shown),
        "      members_order: alphabetical",
        '      filters: ["!^_", "!^(update|compute|rows)$"]',
        "",
        "### Scores of events",
        "",
        "F1 is `2 m / (w + f)`, with w events that the motion rules wrote, f events found in the "
        "motion, and m pairs of both within 0.1 s. Source: own.",
        "",
        "::: mambatalk.sample.score",
        "    options:",
        *(f"      {option}" for option in shown),
        f"      members: [{', '.join(EVENT_FUNCTIONS.values())}]",
    ]
    return "\n".join(lines) + "\n"


def _formula_link(key: str) -> str:
    if key in EVENT_FUNCTIONS:
        name = EVENT_FUNCTIONS[key]
        return f"[`{name}`][mambatalk.sample.score.{name}]"
    name = METRIC_CLASSES.get(key) or METRIC_CLASSES[key.partition("_")[0]]
    return f"[`{name}`][mambatalk.metrics.{name}]"


def library_pages() -> dict[str, str]:
    """Return the pages of the Python library by file name: the public API, and each package."""
    library = _library()
    pages = {"index.md": _public_api(library)}
    for name in sorted(library.modules):
        module = library.modules[name]
        if module.path in UNLISTED or name.startswith("_"):
            continue
        # Guides come before names of the code in what the search finds.
        lines = ["---", "search:", "  boost: 0.2", "---", "", f"# mambatalk.{name}", ""]
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
        return f"list of {len(schema['prefixItems'])}: {_values_in_words(schema['prefixItems'][0])}"
    if schema["type"] == "array":
        return f"list of any length: {_values_in_words(schema['items'])}"
    names = {"string": "text", "boolean": "true or false"}
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:,}" for key, sign in bounds.items() if key in schema]
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


def _code(value: str) -> str:
    """Format a value as code; a path may break, or it would push other columns off the page."""
    if "/" not in value:
        return f"`{value}`"
    breakable = re.sub(r"([/_])", r"\1<wbr>", html.escape(value))
    return f"<code>{breakable}</code>"


def _table_row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
