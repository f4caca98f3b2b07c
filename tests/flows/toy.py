"""A small project with its own git and DVC, whose stages do what a test tells them."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

STAGES = """
stages:
  first:
    cmd: python stage.py first out/first
    deps: [stage.py]
    params: [word]
    outs: [out/first]
  pair:
    matrix:
      part: [left, right]
    cmd: python stage.py pair@${item.part} out/${item.part}
    deps: [out/first]
    outs: ["out/${item.part}"]
  last:
    cmd: python stage.py last out/last
    deps: [out/left, out/right]
    outs: [out/last]
"""

STAGE = '''
"""Write a stage's output, after doing what the file orders/STAGE says (once per line)."""
import json, os, pathlib, sys, time
name, out = sys.argv[1:]
status = pathlib.Path("runs", name, "status.json")
status.parent.mkdir(parents=True, exist_ok=True)
def say(state, kind=None, message=None):
    status.write_text(json.dumps({"stage": name, "state": state, "kind": kind, "message": message}))
say("running")
pathlib.Path("runs", name, "pid").write_text(str(os.getpid()))
print(f"hello from {name}", flush=True)
orders = pathlib.Path("orders", name)
lines = orders.read_text().splitlines() if orders.exists() else []
if lines:
    orders.write_text("\\n".join(lines[1:]))
    if lines[0] == "hang":
        time.sleep(600)
    if lines[0] == "meet":
        mine, other = pathlib.Path("runs", name, "here"), pathlib.Path("runs", lines[1], "here")
        mine.touch()
        while not other.exists():
            time.sleep(0.01)
    else:
        say("failed", lines[0], "as told")
        sys.exit(1)
pathlib.Path(out).write_text(name)
say("succeeded")
'''


def make_toy(root: Path) -> Path:
    root.mkdir()
    (root / "dvc.yaml").write_text(STAGES)
    (root / "params.yaml").write_text("word: hello\n")
    (root / "stage.py").write_text(textwrap.dedent(STAGE))
    (root / "orders").mkdir()
    (root / "out").mkdir()
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True, env={**os.environ, "DVC_NO_ANALYTICS": "1"})
    return root


def order(root: Path, stage: str, *lines: str) -> None:
    (root / "orders" / stage).write_text("\n".join(lines))
