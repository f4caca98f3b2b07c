"""The definitions of `infra/automations.yaml` are ones that Prefect accepts."""

from uuid import uuid4

from prefect.events.schemas.automations import EventTrigger

from flows.promote import STATES
from infra.automations import load_automations


def test_all_are_valid_and_have_names_of_their_own() -> None:
    block = str(uuid4())
    automations = load_automations(block)
    assert len({one.name for one in automations}) == len(automations) == 6
    alerts = [action for one in automations for action in one.actions if "block" in repr(action)]
    assert {str(action.block_document_id) for action in alerts} == {block}


def test_without_a_block_no_automation_sends_alerts() -> None:
    names = {one.name for one in load_automations(None)}
    assert names == {
        "mark-lost-runs-crashed",
        "mark-silent-runs-crashed",
        "reschedule-crashed-retrain",
    }


def test_a_silent_run_is_found_within_three_heartbeats() -> None:
    [silent] = [one for one in load_automations(None) if one.name == "mark-silent-runs-crashed"]
    assert isinstance(silent.trigger, EventTrigger)
    # PREFECT_FLOWS_HEARTBEAT_FREQUENCY in infra/settings/worker.env is 30.
    assert silent.trigger.within.total_seconds() == 3 * 30


def test_a_decision_ends_a_run_and_is_told_to_people() -> None:
    found = {one.name: one.trigger for one in load_automations(str(uuid4()))}
    silent, told = found["mark-silent-runs-crashed"], found["alert-on-promotion"]
    assert isinstance(silent, EventTrigger)
    assert isinstance(told, EventTrigger)
    names = {f"prefect.flow-run.{name}" for name in STATES.values()}
    assert names <= silent.expect
    # Nothing to decide is no news.
    assert names - told.expect == {"prefect.flow-run.Unchanged"}
