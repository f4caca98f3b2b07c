"""What a person has decided about single clips: `data/decisions.csv`, kept in git.

A decision overrides the rules of severity "quarantine" in both directions. It is about the contents
that the person has seen, so it names the digest of the clip's motion and audio, and no longer
applies when a file has changed.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal, get_args

import pandas as pd

from mambatalk.errors import InputError
from mambatalk.files import atomic_file, load_bytes

Answer = Literal["accept", "reject"]
Status = Literal["applied", "stale", "unusable", "absent"]
MAX_FILE_BYTES: Final = 8 * 2**20


@dataclass(frozen=True)
class Decision:
    """One row of the file; the fields are its columns."""

    clip_id: str
    digest: str
    """Column `content` of the manifest."""
    decision: Answer
    reason: str
    who: str
    when: str
    """Date, such as 2026-11-28."""

    def __str__(self) -> str:
        """Return the decision in words."""
        return f"{self.decision}ed by {self.who} on {self.when}: {self.reason}"


COLUMNS: Final = tuple(field.name for field in fields(Decision))


@dataclass(frozen=True)
class JudgedDecision:
    """A decision, and what it does in one corpus."""

    decision: Decision
    status: Status

    @property
    def explanation(self) -> str:
        """What the status means, in words."""
        return {
            "applied": "applies",
            "stale": "does not apply: the clip's files have changed since; decide again",
            "unusable": "does not apply: the clip cannot be read, or is in no split",
            "absent": "does not apply: the clip is not in this corpus",
        }[self.status]

    @property
    def needs_attention(self) -> bool:
        """Whether a person should look at the decision again."""
        return self.status in ("stale", "unusable")


def read_decisions(path: str | Path) -> list[Decision]:
    """Read the decisions of a file; of two on the same clip and digest the later one counts.

    Args:
        path: A CSV file with the columns `COLUMNS`. If it does not exist, there are no decisions.

    Raises:
        InputError: The file is not CSV with these columns, or a row is invalid.

    """
    path = Path(path)
    if not path.exists():
        return []
    data, name = load_bytes(path, where=None, limit=MAX_FILE_BYTES)
    return parse_decisions(data, where=name)


def parse_decisions(data: bytes, *, where: str) -> list[Decision]:
    """Read decisions from the content of a file, as `read_decisions` does.

    Raises:
        InputError: The content is not CSV with the columns `COLUMNS`, or a row is invalid.

    """
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        header = next(reader, [])
        rows = [(f"{where} line {reader.line_num}", row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            where, f"expected CSV in UTF-8, found {error}", "save the file as CSV in UTF-8"
        ) from None
    if tuple(header) != COLUMNS:
        raise InputError(
            where,
            f"expected the columns {', '.join(COLUMNS)}, found {', '.join(header)!r:.80}",
            "restore the first line",
        )
    found = [_parse_row(row, location) for location, row in rows]
    return list({(one.clip_id, one.digest): one for one in found}.values())


def _parse_row(row: list[str], where: str) -> Decision:
    values = [value.strip() for value in row]
    if len(values) != len(COLUMNS) or not all(value.isprintable() and value for value in values):
        raise InputError(
            where,
            f"expected {len(COLUMNS)} printable values, found {','.join(values)!r:.100}",
            f"write {','.join(COLUMNS)}; quote a value that contains a comma",
        )
    clip_id, digest, answer, reason, who, when = values
    if answer not in get_args(Answer):
        raise InputError(where, f"expected accept or reject, found {answer[:40]!r}", "correct it")
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise InputError(
            where,
            f"expected the digest of the clip (64 hexadecimal digits), found {digest[:80]!r}",
            "copy the command from the report",
        )
    try:
        date.fromisoformat(when)
    except ValueError:
        raise InputError(
            where, f"expected a date such as 2026-11-28, found {when[:40]!r}", "correct it"
        ) from None
    return Decision(clip_id, digest, answer, reason, who, when)  # type: ignore[arg-type]


def decide_command(clip: Mapping[str, Any], *, quarantined: bool) -> str | None:
    """Return the command with which a person overrules the checks of a clip.

    It holds the digest of the files that the reader of a report sees, so that the decision is about
    them even if the files have changed since.

    Args:
        clip: Row of the manifest.
        quarantined: Whether the clip is quarantined now, so that a decision would accept it.

    Returns:
        The command, in which only the reason is missing; None if no decision can change anything,
        because the clip cannot be read or is in no split.

    """
    if not pd.isna(clip["fault"]) or pd.isna(clip["split"]):
        return None
    answer = "accept" if quarantined else "reject"
    return f'mambatalk decide {clip["clip_id"]} {answer} --digest {clip["content"]} --reason "WHY"'


def add_decision(path: str | Path, decision: Decision) -> None:
    """Add a row to a file of decisions; write the file if it does not exist.

    Raises:
        InputError: The row or the file is invalid, or the file cannot be written.

    """
    path = Path(path)
    read_decisions(path)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    if path.exists():
        earlier = path.read_text(encoding="utf-8-sig")
        text.write(earlier if earlier.endswith("\n") else earlier + "\n")
    else:
        writer.writerow(COLUMNS)
    writer.writerow(astuple(decision))
    parse_decisions(text.getvalue().encode(), where=str(path))
    with atomic_file(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def judge_decisions(
    table: pd.DataFrame, decisions: Sequence[Decision]
) -> dict[str, JudgedDecision]:
    """Find out which decisions apply to a corpus.

    Args:
        table: Manifest with the columns `clip_id`, `content`, `fault` and `split`.
        decisions: Result of `read_decisions`.

    Returns:
        One decision per clip id, the one that applies if there is one, in the order of the file.

    """
    if not decisions:
        return {}
    clips: dict[str, Any] = table.set_index("clip_id")[["content", "fault", "split"]].to_dict(
        "index"
    )
    judged: dict[str, JudgedDecision] = {}
    for decision in decisions:
        clip = clips.get(decision.clip_id)
        if clip is None:
            status: Status = "absent"
        elif not pd.isna(clip["fault"]) or pd.isna(clip["split"]):
            status = "unusable"
        elif clip["content"] != decision.digest:
            status = "stale"
        else:
            status = "applied"
        earlier = judged.get(decision.clip_id)
        if earlier is None or earlier.status != "applied":
            judged[decision.clip_id] = JudgedDecision(decision, status)
    return judged
