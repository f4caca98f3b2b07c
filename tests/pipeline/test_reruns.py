"""One change reruns the stages that depend on it and no other.

DVC itself decides, in a checkout where every output is a placeholder that `dvc commit` has recorded
as up to date; no stage runs.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx
import pytest
from dvc.repo import Repo

from tasks.tools.graph import PLUMBING
from tests.pipeline.workspace import Workspace, checkout

PARTS = ("face", "upper", "hands", "lower", "global")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")
AUTO_ENCODERS = {f"train_vq@{part}" for part in PARTS}
TRAINING = {*AUTO_ENCODERS, "train_fgd_encoder", "train_generator"}


@dataclass(frozen=True)
class Recorded:
    """A checkout whose stages are all up to date."""

    workspace: Workspace

    def reruns(self) -> set[str]:
        """Stages that changed, and everything downstream of them."""
        with Repo(str(self.workspace.root)) as repo:
            changed = set(repo.status())
            below = {
                stage.addressing: {one.addressing for one in networkx.ancestors(graph, stage)}
                for graph in [repo.index.graph]
                for stage in graph
            }
        return changed.union(*(below[stage] for stage in changed))

    @contextmanager
    def edited(self, path: str) -> Iterator[Path]:
        """Yield a file of the checkout for editing, and restore it afterwards."""
        file = self.workspace.root / path
        before = file.read_bytes()
        try:
            yield file
        finally:
            file.write_bytes(before)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("recorded")
    workspace = checkout(folder)
    with pytest.MonkeyPatch.context() as patch:
        # `Repo.commit` resolves paths of its run cache against the working directory.
        patch.chdir(workspace.root)
        for key, value in workspace.env.items():
            patch.setenv(key, value)
        with Repo(str(workspace.root)) as repo:
            for stage in repo.index.stages:
                for out in stage.outs:
                    write_placeholder(Path(out.fs_path))
            # Files inside an output folder, which other stages depend on.
            for stage in repo.index.stages:
                for dep in stage.deps:
                    if not Path(dep.fs_path).exists():
                        write_placeholder(Path(dep.fs_path))
            repo.commit(force=True)
        recorded = Recorded(workspace)
        assert recorded.reruns() == set()
        yield recorded


def write_placeholder(path: Path) -> None:
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"placeholder of {path.name}\n")
    else:
        path.mkdir(parents=True, exist_ok=True)
        (path / "placeholder").write_text(f"placeholder of {path.name}\n")


def append(file: Path, text: str = "\n# changed\n") -> None:
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def change_docstring(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert '"""' in text
    file.write_text(text.replace('"""', '"""Another word. ', 1), encoding="utf-8")


@pytest.mark.parametrize(
    "path", ["mambatalk/errors.py", "tasks/tracking/recorder.py", "tasks/runtime/stage.py"]
)
def test_a_docstring_of_plumbing_reruns_nothing(recorded: Recorded, path: str) -> None:
    with recorded.edited(path) as file:
        change_docstring(file)
        assert recorded.reruns() == set()


def test_all_plumbing_together_reruns_nothing(recorded: Recorded) -> None:
    """The style of pages is an exception, because the report contains it."""
    root = recorded.workspace.root
    with ExitStack() as edits:
        for entry in PLUMBING:
            files = [root / entry] if entry.endswith(".py") else sorted((root / entry).glob("*.py"))
            for path in files:
                file = edits.enter_context(recorded.edited(str(path.relative_to(root))))
                append(file)
        assert recorded.reruns() == {"report"}


def test_a_new_section_of_parameters_reruns_nothing(recorded: Recorded) -> None:
    with recorded.edited("params.yaml") as file:
        append(file, "\nsection_of_no_stage:\n  samples: 1000\n")
        assert recorded.reruns() == set()


def test_the_style_of_pages_reruns_the_report_alone(recorded: Recorded) -> None:
    with recorded.edited("mambatalk/reporting/style.css") as file:
        append(file, "\nbody { color: black }\n")
        assert recorded.reruns() == {"report"}


def test_bytecode_reruns_nothing(recorded: Recorded) -> None:
    folder = recorded.workspace.root / "mambatalk" / "motion" / "__pycache__"
    folder.mkdir(exist_ok=True)
    (folder / "skeleton.cpython-311.pyc").write_bytes(b"bytecode")
    assert recorded.reruns() == set()


def test_the_generator_s_code_reruns_no_auto_encoder(recorded: Recorded) -> None:
    with recorded.edited("mambatalk/models/generator/network.py") as file:
        append(file)
        assert recorded.reruns() == {"train_generator", "bundle", "evaluate", "render", "report"}


def test_the_generator_s_training_reruns_no_auto_encoder(recorded: Recorded) -> None:
    with recorded.edited("mambatalk/training/modules/generator.py") as file:
        append(file)
        assert recorded.reruns() == {"train_generator", "bundle", "evaluate", "render", "report"}


def test_the_auto_encoders_code_reruns_all_five_and_no_fgd_encoder(recorded: Recorded) -> None:
    with recorded.edited("mambatalk/models/vq/vqvae.py") as file:
        append(file)
        stages = recorded.reruns()
    assert AUTO_ENCODERS | {"encode_codes", "train_generator", "bundle", "evaluate"} <= stages
    assert not {"features", "train_fgd_encoder"} & stages


def test_metrics_rerun_no_training(recorded: Recorded) -> None:
    with recorded.edited("mambatalk/metrics/frechet.py") as file:
        append(file)
        assert recorded.reruns() == {"evaluate", "render", "report"}


def test_features_rerun_everything_downstream(recorded: Recorded) -> None:
    with recorded.edited("mambatalk/features/windows.py") as file:
        append(file)
        stages = recorded.reruns()
    assert {"features", "check_features"} | TRAINING <= stages
    assert not {"prepare", "ingest", "check_clips"} & stages


@pytest.mark.parametrize(
    ("key", "value", "first", "spared"),
    [
        ("render__clips", 2, {"render"}, {"evaluate"} | TRAINING),
        (
            "train_generator__lr",
            2.5e-3,
            {"train_generator", "bundle", "evaluate"},
            AUTO_ENCODERS | {"train_fgd_encoder", "encode_codes"},
        ),
        (
            "train_vq__face__epochs",
            2,
            {"train_vq@face", "encode_codes", "train_generator", "bundle", "evaluate", "render"},
            {"train_vq@upper", "train_fgd_encoder", "features"},
        ),
        ("check_features__max_silent_share", 0.95, {"check_features"}, {"features"} | TRAINING),
        ("fidelity", "published", {"features"} | TRAINING, {"check_clips"}),
    ],
)
def test_one_parameter_reruns_what_depends_on_it(
    recorded: Recorded, key: str, value: Any, first: set[str], spared: set[str]
) -> None:
    with recorded.edited("params.yaml"):
        recorded.workspace.set_params(**{key: value})
        stages = recorded.reruns()
    assert first | {"report"} <= stages
    assert not ({"prepare", "ingest"} | spared) & stages
