"""A decision on real models: the first champion, then a challenger, and what cannot be decided."""

from pathlib import Path

import numpy as np
import pandas
import pytest
from mlflow import MlflowClient

from mambatalk.config import load_config
from mambatalk.errors import InputError
from mambatalk.files import read_json, write_json
from tasks import report_page
from tasks.gate.decision import decide
from tasks.gate.evidence import evidence_rules, feature_drift, not_compared, split_rule
from tasks.gate.files import DECISION, PAGE, REPORT, decision_folder
from tasks.gate.rules import COMPARED
from tasks.gate.scoring import translate_words
from tasks.registry.aliases import promote_version, read_aliases
from tasks.registry.registration import register
from tasks.registry.store import NAME
from tasks.runtime.paths import Paths
from tests.helpers.built_checkout import bundle_of_seed, write_bundle, write_checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return write_checkout(tmp_path / "checkout")


@pytest.mark.slow
def test_a_challenger_is_compared_with_the_champion(
    client: MlflowClient, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAMBATALK_RUNS", raising=False)
    monkeypatch.delenv("MAMBATALK_CACHE", raising=False)
    # As good as a report that was built: the section goes where the template has its places.
    build_report = Path(report_page.__file__).with_name("template.html")
    accepted = read_json(checkout / "data/accepted.json")
    *former, new = accepted["accepted"]
    write_json(checkout / "data/accepted.json", {"accepted": former, "quarantined": {new: []}})
    promote_version(client, register(checkout).version, why="the first")
    assert decide(checkout) is None, "there is no challenger"

    write_json(checkout / "data/accepted.json", accepted)
    report = checkout / "reports/index.html"
    report.parent.mkdir(exist_ok=True)
    report.write_bytes(build_report.read_bytes())
    write_bundle(checkout, bundle_of_seed(1))
    register(checkout)
    second = decide(checkout)
    assert second is not None
    assert (second.version, second.champion, len(second.clips)) == ("2", "1", 5)
    (split,) = (rule for rule in second.rules if rule.name == "Frozen test split")
    assert f"5 of 5 clips of the champion; {new} left out: new since" in split.text
    assert second.verdict in ("reject", "inconclusive"), "neither was trained"
    assert read_aliases(client).champion == "1", "the gate itself moves nothing"
    names = [rule.name for rule in second.rules]
    assert len(names) == len(set(names))
    comparison = [rule for rule in second.rules if rule.group == "Comparison"]
    assert len(comparison) == 1 + len(COMPARED)
    # The random features have neither beats nor a foot on the floor.
    not_run = [rule.name for rule in comparison if rule.status == "not run"]
    assert all(name.startswith(("BC", "Foot skating")) for name in not_run)

    folder = decision_folder(Paths(checkout))
    assert read_json(folder / DECISION)["verdict"] == second.verdict
    page = (folder / PAGE).read_text(encoding="utf-8")
    assert all(rule.name.split(" ", 1)[0] in page for rule in second.rules)
    assert "://" not in page
    tags = client.get_model_version(NAME, "2").tags
    assert tags["gate_verdict"] == second.verdict
    kept = {entry.path for entry in client.list_artifacts(tags["gate_run_id"])}
    assert kept == {DECISION, PAGE, REPORT}

    assert report.read_bytes() == build_report.read_bytes(), "it is an output of DVC"
    with_decision = (folder / REPORT).read_text(encoding="utf-8")
    order = ['href="#promotion"', 'href="#checks"', 'id="promotion"', 'id="checks"']
    assert sorted(order, key=with_decision.index) == order
    assert all(rule.name.split(" ", 1)[0] in with_decision for rule in second.rules)


def test_videos_of_another_bundle_are_not_evidence(checkout: Path) -> None:
    described = read_json(checkout / "bundle/bundle.json")

    def rendered(digest: str) -> str:
        tags = {"bundle_digest": digest, "quality_verdict": "passed"}
        rules = evidence_rules(Paths(checkout), tags, is_rolled_back=False, is_named=False)
        (status,) = (rule.status for rule in rules if rule.name == "Sample rendered")
        return status

    assert rendered(described["digest"]) == "passed"
    assert rendered("of another build") == "not run"
    (checkout / "renders/clip.mp4").write_bytes(b"")
    assert rendered(described["digest"]) == "failed"


@pytest.mark.parametrize(("is_named", "status"), [(False, "failed"), (True, "for information")])
def test_a_version_that_was_rolled_back_from_needs_a_persons_word(
    checkout: Path, is_named: bool, status: str
) -> None:
    rules = evidence_rules(Paths(checkout), {}, is_rolled_back=True, is_named=is_named)
    (found,) = (rule.status for rule in rules if rule.name == "Not rolled back before")
    assert found == status


def test_without_any_version_there_is_nothing_to_decide_about(
    client: MlflowClient, checkout: Path
) -> None:
    with pytest.raises(InputError, match="expected a challenger or a champion, found neither"):
        decide(checkout)


def test_an_unknown_version_is_named(client: MlflowClient, checkout: Path) -> None:
    for wrong in ("9", "best"):
        with pytest.raises(InputError, match=f"version '{wrong}': expected a version of the"):
            decide(checkout, wrong)


@pytest.mark.slow
def test_an_unsigned_challenger_is_refused_where_a_key_is_configured(
    client: MlflowClient, checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tests.unit.serving.test_signature import write_keys

    register(checkout)
    monkeypatch.setenv("MAMBATALK_PUBLIC_KEY", str(write_keys(tmp_path, "ours")[1]))
    with pytest.raises(InputError, match="found an unsigned bundle"):
        decide(checkout)
    assert read_aliases(client).champion is None


def test_words_keep_their_meaning_under_another_vocabulary() -> None:
    features = {"PAD": 0, "SOS": 1, "EOS": 2, "UNK": 3, "yes": 4, "no": 5, "new": 6}
    older = {"PAD": 0, "SOS": 1, "EOS": 2, "UNK": 3, "no": 4, "yes": 5}
    words = np.array([0, 4, 5, 6])
    assert translate_words(words, features, older).tolist() == [0, 5, 4, 3]


@pytest.fixture
def manifest(checkout: Path) -> pandas.DataFrame:
    return pandas.read_parquet(checkout / "data/clips/manifest.parquet")


def compare_splits(
    before: pandas.DataFrame | None, now: pandas.DataFrame, *, is_named: bool = False
) -> tuple[str, str, dict[str, str]]:
    """Return status and text of the rule on the test split, and the reasons of clips left out."""
    left_out = not_compared(before, now)
    rule = split_rule(before, now, left_out, is_named=is_named)
    return rule.status, rule.text, left_out


def test_the_test_split_of_the_champion_is_compared(manifest: pandas.DataFrame) -> None:
    # A clip under another name is the same clip.
    renamed = manifest.replace({"clip_id": {manifest.loc[3, "clip_id"]: "another name"}})
    for now in (manifest, renamed):
        found = compare_splits(manifest, now)
        assert found == ("for information", "6 of 6 clips of the champion", {})
    assert compare_splits(None, manifest)[2] == {}


def test_a_test_clip_that_the_champion_was_trained_on_is_left_out(
    manifest: pandas.DataFrame,
) -> None:
    before = manifest.copy()
    before.loc[3, "split"] = "train"
    status, text, left_out = compare_splits(before, manifest)
    assert left_out == {manifest.loc[3, "clip_id"]: "the champion was trained on it"}
    assert status == "for information"
    assert text.startswith("5 of 5 clips of the champion; ")
    assert "the champion was trained on it" in text


def test_a_new_test_clip_is_left_out(manifest: pandas.DataFrame) -> None:
    status, text, left_out = compare_splits(manifest.drop(3), manifest)
    clip = manifest.loc[3, "clip_id"]
    assert left_out == {clip: "new since the champion"}
    assert status == "for information"
    assert text == f"5 of 5 clips of the champion; {clip} left out: new since the champion"


def test_without_a_test_clip_of_the_champion_nothing_is_shown(manifest: pandas.DataFrame) -> None:
    clip = manifest.loc[3, "clip_id"]
    moved = manifest.copy()
    moved.loc[3, "split"] = "train"
    for now in (manifest.drop(3), moved):
        found = compare_splits(manifest, now)
        assert found == ("unclear", f"5 of 6 clips of the champion; {clip} is missing", {})
    # A person who names the version has seen it.
    assert compare_splits(manifest, manifest.drop(3), is_named=True)[0] == "for information"


@pytest.mark.parametrize("column", ["motion_sha256", "wave_sha256"])
def test_with_a_changed_test_clip_nothing_is_shown(manifest: pandas.DataFrame, column: str) -> None:
    changed = manifest.copy()
    changed.loc[3, column] = "of other content"
    clip = manifest.loc[3, "clip_id"]
    status, text, left_out = compare_splits(manifest, changed)
    assert status == "unclear"
    assert f"5 of 6 clips of the champion; {clip} changed; " in text
    assert left_out == {clip: "its files changed since the champion"}


def test_drift_is_shown_by_feature(checkout: Path, manifest: pandas.DataFrame) -> None:
    config = load_config(checkout / "params.yaml")
    before = pandas.concat([manifest] * 10, ignore_index=True)
    now = before.assign(peak=before["peak"] * 0.5)
    (shift,) = [one for one in feature_drift(config, before, now) if one["speaker"] == "all"]
    assert (shift["feature"], shift["level"]) == ("peak", "large")
    assert feature_drift(config, before, before) == []
