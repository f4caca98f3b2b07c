"""A person's decisions override quarantine, lapse with the clip's files, and are read strictly."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from mambatalk.cli import app
from mambatalk.errors import InputError
from mambatalk.quality.decisions import Decision, add_decision, parse_decisions, read_decisions
from mambatalk.quality.rules.catalogue import STANDARD_BOUNDS, clip_rules
from mambatalk.quality.rules.verdict import apply_rules, verdict

HEADER = "clip_id,digest,decision,reason,who,when\n"
DIGESTS = {f"{k}_clip_0_{k}_{k}": f"{k}" * 64 for k in range(1, 6)}
GOOD, SHORT, LOST, *_ = DIGESTS


def manifest() -> pd.DataFrame:
    """Five clips: the second is too short, the third cannot be read, the fourth has no split."""
    table = pd.DataFrame({"clip_id": list(DIGESTS), "content": list(DIGESTS.values())})
    table["split"] = ["train", "train", "test", None, "test"]
    table["motion_seconds"] = [9.0, 1.0, 9.0, 9.0, 9.0]
    table["fault"] = [None, None, "no wav", None, None]
    return table.astype({"split": object, "fault": object})


def decision(clip_id: str, answer: str = "accept", **changes: str) -> Decision:
    values = {"digest": DIGESTS.get(clip_id, "0" * 64), "reason": "seen", **changes}
    return Decision(clip_id=clip_id, decision=answer, who="ana", when="2026-11-28", **values)


def judge(*decisions: Decision, max_quarantined: float = 0.9) -> dict[str, Any]:
    table = manifest()
    findings = apply_rules(table, clip_rules(STANDARD_BOUNDS))
    return verdict(table, findings, max_quarantined=max_quarantined, decisions=decisions)


def test_decisions_override_quarantine_in_both_directions() -> None:
    before = judge()
    assert GOOD in before["accepted"]
    assert SHORT in before["quarantined"]
    after = judge(decision(SHORT), decision(GOOD, "reject", reason="swears"))
    assert SHORT in after["accepted"]
    assert after["quarantined"][GOOD] == ["rejected by ana on 2026-11-28: swears"]
    assert [one.explanation for one in after["decisions"]] == ["applies", "applies"]


def test_only_what_the_rules_quarantine_counts_towards_the_limit() -> None:
    assert judge(max_quarantined=0.5)["critical"] == [
        "3 of 5 clips quarantined; at most 50% may be"
    ]
    assert judge(decision(SHORT), max_quarantined=0.4)["ok"]
    assert judge(decision(SHORT), decision(GOOD, "reject"), max_quarantined=0.4)["ok"]


@pytest.mark.parametrize(
    ("one", "explanation", "attention"),
    [
        (decision(SHORT, digest="f" * 64), "files have changed", True),
        (decision(LOST), "cannot be read", True),
        (decision("4_clip_0_4_4"), "in no split", True),
        (decision("9_other_0_1_1"), "not in this corpus", False),
    ],
)
def test_a_decision_that_does_not_apply_changes_nothing_and_says_why(
    one: Decision, explanation: str, attention: bool
) -> None:
    result = judge(one)
    (judged,) = result.pop("decisions")
    assert explanation in judged.explanation
    assert judged.needs_attention is attention
    assert result == {name: value for name, value in judge().items() if name != "decisions"}


def test_the_row_for_the_present_files_counts_and_of_two_the_later_one() -> None:
    old = decision(SHORT, "reject", digest="f" * 64)
    assert SHORT in judge(old, decision(SHORT), old)["accepted"]
    rows = f"{SHORT},{'2' * 64},accept,a,b,2026-01-01\n{SHORT},{'2' * 64},reject,a,b,2026-01-02\n"
    (only,) = parse_decisions((HEADER + rows).encode(), where="file")
    assert only.decision == "reject"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,digest\n", r"file: expected the columns clip_id, digest"),
        ("", r"file: expected the columns"),
        (HEADER + "1_a_0_1_1,abc,accept,r,w,2026-01-01\n", "file line 2: expected the digest"),
        (HEADER + f"1_a_0_1_1,{'1' * 64},maybe,r,w,2026-01-01\n", "found 'maybe'"),
        (HEADER + f"\n1_a_0_1_1,{'1' * 64},accept,r,w,today\n", "file line 3: expected a date"),
        (HEADER + f"1_a_0_1_1,{'1' * 64},accept,,w,2026-01-01\n", "expected 6 printable"),
        (HEADER + f"1_a_0_1_1,{'1' * 64},accept,r,s,w,2026-01-01\n", "expected 6 printable"),
        (HEADER + f"\x1b[2J,{'1' * 64},accept,r,w,2026-01-01\n", "file line 2: expected 6"),
        (HEADER + '1_a_0_1_1,"open', "expected CSV"),
        ("\0" + HEADER, "file: expected"),
    ],
)
def test_a_bad_row_is_reported_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_decisions(text.encode(), where="file")
    assert str(caught.value).isprintable()


def test_a_missing_file_holds_no_decisions(tmp_path: Path) -> None:
    assert read_decisions(tmp_path / "none.csv") == []


def test_the_file_of_the_repository_has_the_columns_and_decides_nothing() -> None:
    assert read_decisions(Path(__file__).parents[3] / "data/decisions.csv") == []


def test_a_row_is_added_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    first = decision(GOOD, reason='say "no", twice')
    add_decision(path, first)
    path.write_text(path.read_text().rstrip("\n"))
    add_decision(path, decision(SHORT))
    assert read_decisions(path) == [first, decision(SHORT)]
    assert path.read_text().startswith(HEADER)


def test_the_command_writes_the_digest_and_refuses_what_cannot_be_used(tmp_path: Path) -> None:
    table = manifest().assign(shard="shard-00000.parquet", row_group=0)
    table.to_parquet(tmp_path / "manifest.parquet")
    path = tmp_path / "decisions.csv"
    options = ["--clips", str(tmp_path), "--decisions", str(path), "--reason", "sits  still"]
    done = CliRunner().invoke(app, ["decide", SHORT, "accept", *options])
    assert done.exit_code == 0, done.output
    (added,) = read_decisions(path)
    assert (added.digest, added.decision, added.reason) == ("2" * 64, "accept", "sits still")
    for clip_id, message in (("1_none_0_1_1", "found none"), (LOST, "correct it first: no wav")):
        done = CliRunner().invoke(app, ["decide", clip_id, "accept", *options])
        assert isinstance(done.exception, InputError)
        assert message in str(done.exception)
    assert read_decisions(path) == [added]


def test_a_digest_from_the_report_needs_no_store_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    command = ["decide", GOOD, "reject", "--reason", "swears", "--decisions", str(path)]
    done = CliRunner().invoke(app, [*command, "--digest", "1" * 64])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, [*command, "--digest", "1" * 12])
    assert "expected the digest of the clip (64 hexadecimal digits)" in str(done.exception)
    (kept,) = read_decisions(path)
    assert (kept.digest, kept.decision) == ("1" * 64, "reject")
