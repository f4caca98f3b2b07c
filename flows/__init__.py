"""Prefect flows over the DVC graph.

Prefect reads its settings when it is imported, so they are made here: no telemetry, and time for
the first start of its database.
"""

import os

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
