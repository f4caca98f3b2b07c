"""The stages of the project of `project.py`, which is copied there: `python stage.py NAME OUT`.

`check` looks at a word, `train` takes steps of a tenth of a second, and `evaluate` scores the word.
The training keeps its last step in runs/train/steps, and adds a line to runs/train/log for every
start and every end. Values of `params.yaml` for it:

- steps: How many.
- obeys: Whether SIGTERM ends it.
- records: Whether it records every step in MLflow, as the pipeline's trainings do. The file
  runs/train/recorded then lists the steps.
- hangs_at: Step whose checkpoint, written by the pipeline's own code, hangs before it is complete,
  the first time. If 0, the number in runs/train/steps is the checkpoint.
- megabytes: Size of the model, which the pipeline's own code writes if it is not 0.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

STEP_SECONDS = 0.1


class Training:
    """Steps that take time, and what is kept of them."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values
        self.runs = Path("runs/train")
        self.steps = self.runs / "steps"
        self.done = int(self.steps.read_text()) if self.steps.exists() else 0
        self.stopped = False
        self.after_step: list[Callable[[int], None]] = []
        self.at_end: list[Callable[[], None]] = []
        obeys = values["obeys"] == "true"
        signal.signal(signal.SIGTERM, self._stop if obeys else signal.SIG_IGN)
        # In the pipeline's order: a step is recorded before the checkpoint that is taken after it.
        if values["records"] == "true":
            self._record()
        if int(values["hangs_at"]):
            self._keep_checkpoints()
        self.after_step.append(self._write_step)

    def run(self) -> None:
        log = (self.runs / "log").open("a", buffering=1)
        log.write(f"start {os.getpid()} at {self.done}\n")
        sys.stdout.write(f"training from step {self.done}\n")
        while self.done < int(self.values["steps"]) and not self.stopped:
            time.sleep(STEP_SECONDS)
            self.done += 1
            for act in self.after_step:
                act(self.done)
        log.write(f"end {os.getpid()} at {self.done}\n")
        for finish in self.at_end:
            finish()
        if self.stopped:
            write_status("train", "failed", "interrupted", "stopped by SIGTERM")
            sys.exit(143)

    def forget(self) -> None:
        """Delete the checkpoint, once the model is written."""
        self.steps.unlink()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True

    def _write_step(self, done: int) -> None:
        new = self.steps.with_suffix(".new")
        new.write_text(str(done))
        new.replace(self.steps)

    def _record(self) -> None:
        from tasks.tracking.recorder import Recorder

        recorder = Recorder("train", {}, key="train")
        recorded = (self.runs / "recorded").open("a", buffering=1)

        def record(done: int) -> None:
            recorder.metrics({"done": done}, step=done)
            recorded.write(f"{done}\n")

        self.after_step.append(record)
        self.at_end.append(lambda: recorder.close("KILLED" if self.stopped else "FINISHED"))

    def _keep_checkpoints(self) -> None:
        import torch

        from mambatalk.training.loop.checkpoints import Checkpoints, Position

        checkpoints = Checkpoints(self.runs / "checkpoints", seconds=0)
        newest = checkpoints.newest()
        self.done = int(newest[1]["done"]) if newest else 0
        hanging = self.runs / "hanging"
        synchronise = os.fsync

        def hang(descriptor: int) -> None:
            if self.done == int(self.values["hangs_at"]) and not hanging.exists():
                hanging.touch()
                time.sleep(3600)
            synchronise(descriptor)

        def save(done: int) -> None:
            checkpoints.save(Position(0, done), lambda: {"done": done, "weights": torch.ones(1000)})
            checkpoints.wait()

        os.fsync = hang
        self.after_step.append(save)


def write_status(
    name: str, state: str, kind: str | None = None, message: str | None = None
) -> None:
    status = {"stage": name, "state": state, "kind": kind, "message": message}
    Path("runs", name, "status.json").write_text(json.dumps(status))


def main(name: str, out: str) -> None:
    Path("runs", name).mkdir(parents=True, exist_ok=True)
    lines = Path("params.yaml").read_text().splitlines()
    values = dict(line.split(": ") for line in lines)
    word = values["word"]
    write_status(name, "running")
    if name == "check" and word == "bad":
        write_status(name, "failed", "data-contract", "1 clip is broken")
        sys.exit(1)
    if name == "train":
        training = Training(values)
        training.run()
        write_model(out, word, int(values["megabytes"]))
        training.forget()
    else:
        Path(out).write_text(f"{name} {word}")
    if name == "evaluate":
        Path("score.json").write_text(json.dumps({"score": len(word)}))
    write_status(name, "succeeded")


def write_model(out: str, word: str, megabytes: int) -> None:
    if not megabytes:
        Path(out).write_text(f"train {word}")
        return
    from mambatalk.errors import InputError
    from mambatalk.files import atomic_file

    try:
        with atomic_file(out) as path:
            path.write_bytes(bytes(megabytes * 2**20))
    except InputError as error:
        write_status("train", "failed", "config", str(error))
        sys.exit(2)


if __name__ == "__main__":
    main(*sys.argv[1:])
