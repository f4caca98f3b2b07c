"""Exit 0 if a server answers an API call as its clients make it: `python probe.py mlflow|prefect`.

Health pages answer without a password and under any host name, so they stay green while every
client gets 401 or 403. This asks for data with the password, and under the name in PROBE_HOST.
It needs the standard library only. Passwords come from the environment and are never printed.
"""

import base64
import os
import sys
from urllib.error import URLError
from urllib.request import Request, urlopen

ADDRESSES = {
    "mlflow": "http://127.0.0.1:{MLFLOW_PORT}/api/2.0/mlflow/experiments/search?max_results=1",
    "prefect": "http://127.0.0.1:{PREFECT_SERVER_API_PORT}/api/admin/version",
}


def credentials(server: str) -> str:
    """Return user and password of a server, separated by a colon."""
    if server == "prefect":
        return os.environ["PREFECT_SERVER_API_AUTH_STRING"]
    user = os.environ["MLFLOW_AUTH_ADMIN_USERNAME"]
    return f"{user}:{os.environ['MLFLOW_AUTH_ADMIN_PASSWORD']}"


def probe(server: str) -> None:
    """Make one API call.

    Raises:
        OSError: The server does not answer, or not with success.

    """
    request = Request(ADDRESSES[server].format_map(os.environ))
    token = base64.b64encode(credentials(server).encode()).decode()
    request.add_header("Authorization", f"Basic {token}")
    if host := os.environ.get("PROBE_HOST"):
        request.add_header("Host", host)
    with urlopen(request, timeout=10) as response:
        response.read()


def main(server: str) -> int:
    """Probe a server; return the exit status."""
    try:
        probe(server)
    except (OSError, URLError) as error:
        sys.stderr.write(f"{server}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
