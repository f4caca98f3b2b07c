"""Flagged clips: what is wrong, when in the clip, and pictures that show it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from mambatalk.clips.row import Clip
from mambatalk.clips.store import ClipSource
from mambatalk.motion.clip import SmplxMotion
from mambatalk.motion.skeleton import FPS
from mambatalk.quality.decisions import Decision, decide_command
from mambatalk.quality.pages.evidence import evidence_figures
from mambatalk.quality.pages.figures import Figure
from mambatalk.quality.pages.moments import find_moment, still_times
from mambatalk.quality.pages.waveform import plot_waveform
from mambatalk.quality.rules.rule import Rule
from mambatalk.reporting.picture import embed_picture

if TYPE_CHECKING:
    from markupsafe import Markup

StillDrawer = Callable[[SmplxMotion, Sequence[float]], bytes]
"""Draws a WebP file of a motion at some moments in seconds, such as `rendering.moments`."""
_SEVERITIES: Final = ("critical", "quarantine", "warning")


@dataclass(frozen=True)
class FlaggedClip:
    """A clip with at least one finding."""

    row: dict[str, Any]
    """Its row of the manifest."""
    findings: list[dict[Any, Any]]
    """Its findings, with the columns `rules.verdict.COLUMNS`, the most severe first."""
    moments: dict[str, str]
    """When in the clip each rule is broken, such as "3.0 to 4.5 s"; rules without one are absent.
    """
    figures: list[Figure]
    still: "Markup | None"
    """Stills of the motion at the fault, or spread over the clip."""
    decision: Decision | None
    """What a person has decided about these files."""
    command: str | None
    """Command with which a person overrules the checks, or the decision; None if none can."""
    quarantined: bool


def order_flagged_clips(findings: pd.DataFrame) -> list[str]:
    """Return the ids of all clips with findings, the most instructive ones first.

    Critical and quarantined clips come before warnings, and the first clips of every rule before
    the second ones, so that one frequent fault does not hide the others.

    Args:
        findings: Result of `rules.verdict.apply_rules`.

    """
    ranked = findings.assign(
        severe=findings["severity"] == "warning", rank=findings.groupby("rule").cumcount()
    )
    ordered = ranked.sort_values(["severe", "rank"], kind="stable")["clip_id"]
    return [str(clip_id) for clip_id in ordered.drop_duplicates()]


def illustrate_clips(
    store: ClipSource,
    clip_ids: Sequence[str],
    findings: pd.DataFrame,
    rules: Sequence[Rule],
    verdict: Mapping[str, Any],
    *,
    draw_stills: StillDrawer | None,
    figures: bool = True,
) -> Iterator[FlaggedClip]:
    """Yield clips with their findings and figures, and what a person can do about them.

    Args:
        store: Clips and their manifest.
        clip_ids: Clips to illustrate.
        findings: Result of `rules.verdict.apply_rules`.
        rules: The rules that were applied.
        verdict: Result of `rules.verdict.verdict`.
        draw_stills: Draws the motion. If None, there are no stills.
        figures: Whether to draw figures and stills, which takes half a second for each clip.

    """
    # A report of thousands of flagged clips has hundreds of pages, each with a few of them.
    shown = findings[findings["clip_id"].isin(clip_ids)]
    of_clip = dict(tuple(shown.groupby("clip_id")))
    applied = [one.decision for one in verdict["decisions"] if one.status == "applied"]
    decisions = {decision.clip_id: decision for decision in applied}
    places = {clip_id: place for place, clip_id in enumerate(store.manifest["clip_id"])}
    for clip_id in clip_ids:
        row = store.manifest.iloc[places[clip_id]].to_dict()
        readable = figures and pd.isna(row["fault"])
        clip = store.read(clip_id) if readable else None
        by_severity = of_clip[clip_id].assign(order=_order_of_severity)
        by_severity = by_severity.sort_values("order", kind="stable")
        moments, drawn, still = _illustrate(
            store, row, clip, by_severity, rules, draw_stills, figures
        )
        quarantined = clip_id in verdict["quarantined"]
        yield FlaggedClip(
            row=row,
            findings=by_severity.to_dict("records"),
            moments=moments,
            figures=drawn,
            still=still,
            decision=decisions.get(clip_id),
            command=decide_command(row, quarantined=quarantined),
            quarantined=quarantined,
        )


def _order_of_severity(findings: pd.DataFrame) -> "pd.Series[int]":
    return findings["severity"].map(_SEVERITIES.index)


def _illustrate(
    store: ClipSource,
    row: dict[str, Any],
    clip: Clip | None,
    by_severity: pd.DataFrame,
    rules: Sequence[Rule],
    draw_stills: StillDrawer | None,
    figures: bool,
) -> tuple[dict[str, str], list[Figure], "Markup | None"]:
    """Return the moments of the faults by rule, their figures, and stills of the motion."""
    names = list(by_severity["rule"])
    by_name = {rule.name: rule for rule in rules}
    broken = [by_name[name] for name in names]
    found = {rule.name: find_moment(row, clip, rule) for rule in broken}
    moments = {
        name: _describe_moment(*moment) for name, moment in found.items() if moment is not None
    }
    drawn: list[Figure] = []
    still = None
    if figures:
        drawn = evidence_figures(row, clip, broken, store)
    if clip is not None:
        waveform = plot_waveform(clip)
        if waveform.caption not in {figure.caption for figure in drawn}:
            drawn.append(waveform)
        if draw_stills is not None and len(clip.motion):
            first = next((moment for moment in found.values() if moment is not None), None)
            times = still_times(first, len(clip.motion) / FPS)
            label = "The motion at " + ", ".join(f"{time:.1f}" for time in times) + " s"
            still = embed_picture(draw_stills(clip.motion, times), label=label)
    return moments, drawn, still


def _describe_moment(start: float, end: float) -> str:
    """Return a time or an interval in seconds as text."""
    return f"{start:.1f} s" if end - start < 0.05 else f"{start:.1f} to {end:.1f} s"
