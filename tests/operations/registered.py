"""A project whose model can be registered and judged by the gate; nothing in it is trained.

Its stages have the names that registration looks up in `dvc.lock`. The last one writes the small
real features, networks and evidence of `tests.helpers.built_checkout`, with noise on the weights as
`noise.yaml` says, which makes a worse model.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from ruamel.yaml import YAML

from flows.worktrees import git
from tests.helpers.built_checkout import CODED, bundle_of_seed, write_checkout
from tests.operations.project import Project, start_project

NOISE = "noise.yaml"
OUTPUTS = (
    "bundle",
    "data/accepted.json",
    "data/body",
    "data/clips",
    "data/features",
    "metrics/check_clips.json",
    "metrics/check_features.json",
    "models/fgd",
    "renders",
)
"""What the last stage writes of a built checkout."""


def make_registered_project(root: Path) -> Project:
    """Create a project whose runs can go as far as a promotion."""
    root.mkdir(parents=True)
    with TemporaryDirectory() as folder:
        built = write_checkout(Path(folder, "built"))
        shutil.move(built / "params.yaml", root)
    YAML().dump({"stages": _stages()}, root / "dvc.yaml")
    _write_noise(root, 0.0)
    return start_project(root)


def plant_worse_model(project: Project) -> None:
    """Commit a change that makes the next model worse than the first one."""
    _write_noise(project.root, 0.3)
    git(project.root, "commit", "--quiet", "--all", "--message", "Add noise to the weights")


def _write_noise(root: Path, value: float) -> None:
    YAML().dump({"noise": value}, root / NOISE)


def _stages() -> dict[str, object]:
    codes = [f"models/vq/{part}" for part in CODED]
    folder = "models/vq/${item.part}"
    return {
        "train_vq": {
            "matrix": {"part": [*CODED]},
            "cmd": f"mkdir -p {folder} && echo {folder} > {folder}/codes",
            "outs": [folder],
        },
        "encode_codes": {
            "cmd": "mkdir -p data/codes && echo codes > data/codes/codes",
            "deps": codes,
            "outs": ["data/codes"],
        },
        "train_generator": {
            "cmd": "exec python -m tests.operations.registered",
            "deps": [*codes, "data/codes"],
            "params": [{NOISE: ["noise"]}],
            "outs": [*OUTPUTS],
        },
    }


def main() -> None:
    """Write the outputs of the last stage into the present folder."""
    noise = float(YAML(typ="safe").load(Path(NOISE))["noise"])
    bundle = bundle_of_seed(0)
    torch.manual_seed(1)
    for network in (bundle.generator, *bundle.auto_encoders.values()):
        for parameter in network.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    with TemporaryDirectory() as folder:
        built = write_checkout(Path(folder, "built"))
        shutil.rmtree(built / "bundle")
        bundle.save(built / "bundle")
        for name in OUTPUTS:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(built / name, name)


if __name__ == "__main__":
    main()
