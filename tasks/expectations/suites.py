"""The data rules of `mambatalk.quality.rules` as Great Expectations suites.

One list of rules serves both `mambatalk check`, which does not need Great Expectations, and the
stages. The data context is in memory: nothing is read from configuration files, nothing is sent
anywhere, and results hold no time.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas

from mambatalk.files import atomic_directory, write_json
from mambatalk.quality.decisions import Decision
from mambatalk.quality.rules.rule import Rule
from mambatalk.quality.rules.verdict import apply_rules, verdict
from tasks.expectations.data_docs import write_page
from tasks.runtime.context import StageContext
from tasks.runtime.status import DataContractError

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.expectations import Expectation

_SEVERITY: Final = {"critical": "critical", "quarantine": "warning", "warning": "info"}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The result of checking a table of clips."""

    verdict: dict[str, Any]
    """Result of `mambatalk.quality.rules.verdict`."""
    findings: pandas.DataFrame
    """One row per clip and broken rule."""
    result: "ExpectationSuiteValidationResult"
    """Result of Great Expectations."""

    def summary(self) -> dict[str, Any]:
        """Return the numbers that DVC shows, and the number of clips that break each rule."""
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
    table: pandas.DataFrame,
    rules: Sequence[Rule],
    *,
    name: str,
    max_quarantined: float,
    decisions: Sequence[Decision] = (),
) -> Checked:
    """Check a table with one row per clip, with our own rule engine and Great Expectations.

    Args:
        table: One row per clip; columns that no rule names are ignored.
        rules: Rules to check. A rule whose column is missing from the table is skipped.
        name: Name of the suite.
        max_quarantined: Largest share of clips that the rules may quarantine.
        decisions: What a person has decided about single clips.

    """
    findings = apply_rules(table, rules)
    return Checked(
        verdict=verdict(table, findings, max_quarantined=max_quarantined, decisions=decisions),
        findings=findings,
        result=_validate(table, [rule for rule in rules if rule.column in table], name),
    )


def publish(context: StageContext, checked: Checked, *, docs: Path, title: str, lead: str) -> None:
    """Write Data Docs and the verdict of a stage, or fail with the evidence.

    Args:
        context: Context of the stage; its metrics go to `metrics/STAGE.json`.
        checked: Result of the check.
        docs: Output folder of Data Docs.
        title: Title of the page.
        lead: First sentence of the page.

    Raises:
        DataContractError: A critical rule is broken. The evidence is in the stage's run folder,
            because DVC keeps no output of a stage that fails.

    """
    recorder = context.recorder
    summary = checked.summary()
    recorder.metrics(summary)
    if not checked.verdict["ok"]:
        evidence = context.run_folder / "evidence"
        _write_evidence(evidence, checked, title=title, lead=lead)
        recorder.artifact(evidence)
        reasons = checked.verdict["critical"]
        more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        raise DataContractError(
            context.stage,
            f"expected data that breaks no critical rule, found {reasons[0]}{more}",
            f"read {evidence / 'index.html'} and correct the corpus",
        )
    metrics = context.paths.metrics / f"{context.stage}.json"
    with atomic_directory(docs) as out:
        write_page(out / "index.html", checked.result, title=title, lead=lead)
    write_json(metrics, summary)
    recorder.artifact(docs)
    recorder.artifact(metrics)


def _write_evidence(folder: Path, checked: Checked, *, title: str, lead: str) -> None:
    details = {
        **checked.summary(),
        "reasons": checked.verdict["critical"],
        "quarantined_clips": checked.verdict["quarantined"],
    }
    with atomic_directory(folder) as out:
        write_page(out / "index.html", checked.result, title=title, lead=lead)
        write_json(out / "verdict.json", details)
        checked.findings.to_csv(out / "findings.csv", index=False, lineterminator="\n")


def _validate(
    table: pandas.DataFrame, rules: Sequence[Rule], name: str
) -> "ExpectationSuiteValidationResult":
    import great_expectations
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = great_expectations.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    translated = [expectation for rule in rules for expectation in expectations(rule)]
    suite = context.suites.add(
        great_expectations.ExpectationSuite(name=name, expectations=translated)
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
    """Translate a rule to one expectation, or to two if a missing value breaks it as well."""
    from great_expectations import expectations as gx

    shared: dict[str, Any] = {
        "column": rule.column,
        "severity": _SEVERITY[rule.severity],
        "meta": {"rule": rule.name},
    }

    def description(expected: str) -> str:
        name = rule.name.replace("_", " ")
        return f"{name} ({rule.severity}): {expected}; if not, {rule.reason}"

    if rule.absent:
        yield gx.ExpectColumnValuesToBeNull(**shared, description=description("no value"))
    if rule.required:
        yield gx.ExpectColumnValuesToNotBeNull(**shared, description=description("a value"))
    if rule.allowed is not None:
        yield gx.ExpectColumnValuesToBeInSet(
            **shared, value_set=list(rule.allowed), description=description(rule.expected)
        )
    elif rule.minimum is not None or rule.maximum is not None:
        yield gx.ExpectColumnValuesToBeBetween(
            **shared,
            min_value=rule.minimum,
            max_value=rule.maximum,
            description=description(rule.expected),
        )
