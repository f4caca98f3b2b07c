"""The per-clip rules of `mambatalk.quality.rules` as Great Expectations suites, and the page that
shows how they went.

One list of rules serves `mambatalk check`, which needs no Great Expectations, and the stages. The
context lives in
memory: nothing is configured in files, nothing is sent anywhere, and nothing bears the time of day.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas

from mambatalk.files import atomic_directory, write_json
from mambatalk.quality.rules import Rule, apply_rules, verdict
from tasks.expectations.data_docs import write_page
from tasks.runtime.status import DataContractError, scratch
from tasks.tracking.recorder import Recorder

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.expectations import Expectation

_SEVERITY: Final = {"critical": "critical", "quarantine": "warning", "warning": "info"}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """How a table of clips did."""

    verdict: dict[str, Any]
    """What `mambatalk.quality.rules.verdict` says."""
    findings: pandas.DataFrame
    result: "ExpectationSuiteValidationResult"
    """What Great Expectations says."""

    def summary(self) -> dict[str, Any]:
        """Numbers for DVC: what was accepted, and how many clips break each rule that is broken."""
        statistics = self.result.statistics
        return {
            "success": self.verdict["ok"],
            "accepted": len(self.verdict["accepted"]),
            "quarantined": len(self.verdict["quarantined"]),
            "critical": len(self.verdict["critical"]),
            "warnings": self.verdict["warnings"],
            "expectations": statistics["evaluated_expectations"],
            "unmet": statistics["unsuccessful_expectations"],
            "broken": {
                name: int(count)
                for name, count in self.findings["rule"].value_counts().sort_index().items()
            },
        }


def check(
    table: pandas.DataFrame, rules: Sequence[Rule], *, name: str, max_quarantined: float
) -> Checked:
    """Judge a table with one row per clip, by the rules and by Great Expectations."""
    findings = apply_rules(table, rules)
    return Checked(
        verdict=verdict(table, findings, max_quarantined=max_quarantined),
        findings=findings,
        result=_validate(table, [rule for rule in rules if rule.column in table], name),
    )


def publish(
    checked: Checked,
    stage: str,
    *,
    docs: Path,
    metrics: Path,
    title: str,
    lead: str,
    recorder: Recorder,
) -> None:
    """Write Data Docs and verdict; where a critical rule is broken, write them as evidence and
    fail.

    Raises:
        DataContractError: A critical rule is broken; the evidence lies in the stage's scratch
            folder, since DVC keeps no output of a stage that fails.

    """
    recorder.metrics(checked.summary())
    if not checked.verdict["ok"]:
        evidence = scratch(stage) / "evidence"
        with atomic_directory(evidence) as out:
            write_page(out / "index.html", checked.result, title=title, lead=lead)
            write_json(
                out / "verdict.json",
                {
                    **checked.summary(),
                    "reasons": checked.verdict["critical"],
                    "quarantined_clips": checked.verdict["quarantined"],
                },
            )
            checked.findings.to_csv(out / "findings.csv", index=False, lineterminator="\n")
        recorder.artifact(evidence)
        reasons = checked.verdict["critical"]
        more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        raise DataContractError(
            stage,
            f"expected data that no critical rule forbids, found {reasons[0]}{more}",
            f"read {evidence / 'index.html'} and mend the corpus",
        )
    with atomic_directory(docs) as out:
        write_page(out / "index.html", checked.result, title=title, lead=lead)
    write_json(metrics, checked.summary())
    recorder.artifact(docs)
    recorder.artifact(metrics)


def _validate(
    table: pandas.DataFrame, rules: Sequence[Rule], name: str
) -> "ExpectationSuiteValidationResult":
    import great_expectations
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = great_expectations.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    suite = context.suites.add(
        great_expectations.ExpectationSuite(
            name=name, expectations=[one for rule in rules for one in expectations(rule)]
        )
    )
    batch = (
        context.data_sources.add_pandas(name)
        .add_dataframe_asset(name)
        .add_batch_definition_whole_dataframe(name)
    )
    definition = great_expectations.ValidationDefinition(name=name, data=batch, suite=suite)
    return context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": table},
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": ["clip_id"],
            "return_unexpected_index_query": False,
        },
    )


def expectations(rule: Rule) -> Iterator["Expectation"]:
    """A rule as one expectation, or as two where null is no value either."""
    from great_expectations import expectations as known

    shared: dict[str, Any] = {
        "column": rule.column,
        "severity": _SEVERITY[rule.severity],
        "meta": {"rule": rule.name},
    }
    told = f"{rule.name.replace('_', ' ')} ({rule.severity}): %s; if not, {rule.reason}"
    if rule.absent:
        yield known.ExpectColumnValuesToBeNull(**shared, description=told % "nothing here")
    if rule.required:
        yield known.ExpectColumnValuesToNotBeNull(**shared, description=told % "a value")
    if rule.allowed is not None:
        yield known.ExpectColumnValuesToBeInSet(
            **shared, value_set=list(rule.allowed), description=told % rule.expected
        )
    elif rule.minimum is not None or rule.maximum is not None:
        yield known.ExpectColumnValuesToBeBetween(
            **shared,
            min_value=rule.minimum,
            max_value=rule.maximum,
            description=told % rule.expected,
        )
