"""`mambatalk view`: the address is printed once the page is there, and Ctrl-C ends it."""

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.helpers.motions import smooth_motion

COMMAND = Path(sys.executable).with_name("mambatalk")


@pytest.mark.parametrize(("count", "shown"), [(1, "1 clip"), (2, "2 clips")])
def test_the_page_is_served_until_ctrl_c(tmp_path: Path, count: int, shown: str) -> None:
    for number in range(count):
        smooth_motion(number, 30).write(tmp_path / f"clip{number}.npz")
    with subprocess.Popen(
        [COMMAND, "view", tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(rf"(http://127\.0\.0\.1:\d+) shows {shown}; Ctrl-C ends it\n", line)
        assert found, line
        with urllib.request.urlopen(found[1]) as page:
            assert b"<title>" in page.read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "mambatalk: stopped by SIGINT\n"
