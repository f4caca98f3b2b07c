"""The automations of `infra/automations.yaml`, and the notification block that alerts go to."""

import os
from pathlib import Path
from typing import Any, Final

from prefect import get_client
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.events.schemas.automations import AutomationCore
from ruamel.yaml import YAML

FILE: Final = Path(__file__).with_suffix(".yaml")
ALERT_BLOCK: Final = "alerts"
ALERT_URL: Final = "MAMBATALK_ALERT_URL"
_PLACEHOLDER: Final = "ALERTS"


def load_automations(block_id: str | None) -> list[AutomationCore]:
    """Read the automations.

    Args:
        block_id: Id of the notification block. If None, automations that send alerts are left out.

    """
    entries: list[dict[str, Any]] = YAML(typ="safe").load(FILE)["automations"]
    automations = []
    for entry in entries:
        for action in entry["actions"]:
            if action.get("block_document_id") == _PLACEHOLDER:
                action["block_document_id"] = block_id
        if all(action.get("block_document_id", "") is not None for action in entry["actions"]):
            # An update sends only what is set; without this, one that was switched off stays off.
            automations.append(AutomationCore.model_validate({"enabled": True, **entry}))
    return automations


def alert_block(*, save: bool = True) -> str | None:
    """Return the id of the notification block `alerts` on the server.

    A block that a person has made there is used as it is, whatever its kind (mail by Sendgrid,
    Slack, Teams). Otherwise `MAMBATALK_ALERT_URL`, if set, becomes one: the server posts
    `{"text": ...}` there, which Slack, Mattermost and most chat programs understand.

    Args:
        save: Whether to make a block of the variable. If False, the server stays as it is.

    Returns:
        The id, or None if there is no block.

    """
    with get_client(sync_client=True) as client:
        documents = client.read_block_documents(include_secrets=False)
    ids = {one.block_type_name: str(one.id) for one in documents if one.name == ALERT_BLOCK}
    webhook = ids.pop(CustomWebhookNotificationBlock.get_block_type_name(), None)
    if ids:
        return min(ids.values())
    url = os.environ.get(ALERT_URL)
    if not url or not save:
        return webhook
    # The address is a password for the channel: a secret of the block is not shown on pages.
    created = CustomWebhookNotificationBlock.model_validate(
        {
            "name": ALERT_BLOCK,
            "url": "{{address}}",
            "json_data": {"text": "{{subject}}\n{{body}}"},
            "secrets": {"address": url},
        }
    )
    return str(created.save(ALERT_BLOCK, overwrite=True))
