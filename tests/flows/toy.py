"""A small project with its own git and DVC, whose stages behave as a test instructs them."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from flows.workspace import Workspace

STAGES = {"first", "pair@left", "pair@right", "last"}

DVC_YAML = """
stages:
  first:
    cmd: exec python stage.py first out/first
    deps: [stage.py]
    params: [word]
    outs: [out/first]
  pair:
    matrix:
      part: [left, right]
    cmd: exec python stage.py pair@${item.part} out/${item.part}
    deps: [out/first]
    outs: ["out/${item.part}"]
  last:
    cmd: exec python stage.py last out/last
    deps: [out/left, out/right]
    outs: [out/last]
"""

STAGE_PY = '''
"""Write a stage's output, after following one line of instructions/STAGE, if there is one.

hang: sleep. meet OTHER: wait until the stage OTHER runs as well. KIND: fail with this kind.
"""

import json
import os
import pathlib
import sys
import time

name, out = sys.argv[1:]
runs = pathlib.Path("runs", name)
runs.mkdir(parents=True, exist_ok=True)


def write_status(state, kind=None, message=None):
    status = {"stage": name, "state": state, "kind": kind, "message": message}
    (runs / "status.json").write_text(json.dumps(status))


write_status("running")
(runs / "pid").write_text(str(os.getpid()))
(runs / "variables").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
print(f"hello from {name}", flush=True)

instructions = pathlib.Path("instructions", name)
lines = instructions.read_text().splitlines() if instructions.exists() else []
if lines:
    instructions.write_text("\\n".join(lines[1:]))
    word, *rest = lines[0].split()
    if word == "hang":
        time.sleep(600)
    elif word == "meet":
        (runs / "here").touch()
        while not pathlib.Path("runs", rest[0], "here").exists():
            time.sleep(0.01)
    else:
        write_status("failed", word, "as instructed")
        sys.exit(1)

pathlib.Path(out).write_text(name)
write_status("succeeded")
'''


def make_toy(root: Path) -> Path:
    root.mkdir()
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "params.yaml").write_text("word: hello\n")
    (root / "stage.py").write_text(textwrap.dedent(STAGE_PY))
    (root / "instructions").mkdir()
    (root / "out").mkdir()
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True, env={**os.environ, "DVC_NO_ANALYTICS": "1"})
    return root


def instruct(toy: Workspace, stage: str, *lines: str) -> None:
    """Replace a stage's instructions: one line for each run, then it succeeds."""
    (toy.root / "instructions" / stage).write_text("\n".join(lines))
