"""The model card: what a version was trained on, how good it is, its limits and its licence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mambatalk.evaluation.table import metrics_table
from mambatalk.metrics.catalogue import footnotes
from mambatalk.reporting.text import count_of

LICENCE: Final = (
    "The code and the format are under Apache-2.0. Weights are derived from their training data: "
    "those of the embedded sample may be used freely, those of BEATX under its licence (CC BY-NC "
    "4.0, research only). The SMPL-X body model is not included; its own licence applies to meshes "
    "and renderings."
)
LIMITS: Final = (
    "The model knows the speakers listed above; it does not imitate a new one.",
    "The network sees windows of 64 frames (2.1 s) and four frames of context. It plans no gesture "
    "over several sentences.",
    "Hands hold nothing and bodies touch nothing: there is no scene, and no other person.",
    "Metrics say how near motion is to recordings. They do not replace looking at it.",
)


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a model card says of one build."""

    bundle: Mapping[str, Any]
    """Content of `bundle.json`."""
    tags: Mapping[str, str]
    """Tags of the version."""
    evaluation: Mapping[str, Any] | None
    """Content of `metrics.json`, optionally with "intervals"; None if not evaluated."""
    data: Mapping[str, Any]
    """Clips, minutes and speakers of the accepted clips by split."""
    is_sample: bool


def model_card(facts: CardFacts) -> str:
    """Return the card as Markdown, with the metadata block that model hubs read."""
    data = facts.data
    speakers = ", ".join(data["speakers"])
    splits = ", ".join(f"{split} {count}" for split, count in data["splits"].items())
    origin = "A recorded corpus in BEATX layout."
    if facts.is_sample:
        origin = (
            "The embedded sample, whose motion follows written rules: the model shows that the "
            "pipeline learns, and is of no other use."
        )
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: mambatalk",
        "pipeline_tag: audio-to-audio",
        "tags: [speech-driven-gesture, smpl-x, motion-generation]",
        "---",
        "",
        f"# MambaTalk, bundle {facts.bundle['digest'][:12]}",
        "",
        "Speech in, whole-body SMPL-X motion at 30 frames a second out. One release unit: the "
        "generator, its five motion auto-encoders, the vocabulary and the settings.",
        "",
        "## Origin",
        "",
        *(f"- {key.replace('_', ' ')}: `{value}`" for key, value in sorted(facts.tags.items())),
        f"- fidelity: {facts.bundle['fidelity']}",
        "",
        "## Training data",
        "",
        origin,
        f"{count_of(data['clips'], 'accepted clip')}, {data['minutes']:.1f} minutes, speakers "
        f"{speakers}. Clips by split: {splits}.",
        "",
        "## Metrics",
        "",
    ]
    if facts.evaluation is None:
        lines.append("Not evaluated.")
    else:
        lines += [
            f"{count_of(facts.evaluation['clips'], 'held-out clip')}, "
            f"{count_of(facts.evaluation['frames'], 'frame')}, one seed. Brackets: 95 % interval "
            "over clips, where there are enough of them. Ground truth and baselines are the rows "
            "to compare with.",
            "",
            metrics_table(facts.evaluation, "markdown"),
            *(f"{sign} {text}." for sign, text in footnotes(facts.evaluation).items()),
        ]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in LIMITS)]
    lines += ["", "## Licence", "", LICENCE, ""]
    return "\n".join(lines)
