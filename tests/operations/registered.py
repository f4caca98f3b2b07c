"""A project whose model can be registered and judged by the gate; nothing in it is trained.

Its stages have the names that registration looks up in `dvc.lock`. Two of them write the small real
features, networks and evidence of `tests.helpers.built_checkout`, as `recipe.yaml` says:

- clips: Training clips besides those of the built checkout.
- noise: Standard deviation of noise on the weights; more noise makes a worse model.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from ruamel.yaml import YAML

from flows.worktrees import git
from tests.helpers.built_checkout import CODED, SPLITS, bundle_of_seed, write_checkout
from tests.operations.project import Project, start_project

RECIPE = "recipe.yaml"
DATA = (
    "data/accepted.json",
    "data/body",
    "data/clips",
    "data/features",
    "metrics/check_clips.json",
    "metrics/check_features.json",
    "models/fgd",
    "renders",
)
"""What a built checkout has besides the bundle and its parameters."""
STAGES = 2 + len(CODED) + 1


def make_registered_project(root: Path, remote: str | None = None) -> Project:
    """Create a project whose runs can go as far as a promotion, with a model that can be better.

    Arguments as of `make_project`.
    """
    root.mkdir(parents=True)
    with TemporaryDirectory() as folder:
        built = write_checkout(Path(folder, "built"))
        shutil.move(built / "params.yaml", root)
    YAML().dump({"stages": _stages()}, root / "dvc.yaml")
    YAML().dump({"clips": 0, "noise": 0.3}, root / RECIPE)
    return start_project(root, remote)


def commit_recipe(project: Project, **values: float) -> None:
    """Change the recipe, and commit it."""
    path = project.root / RECIPE
    YAML().dump({**_recipe(path), **values}, path)
    git(project.root, "commit", "--quiet", "--all", "--message", f"Set {values}")


def _recipe(path: Path) -> dict[str, float]:
    return dict(YAML(typ="safe").load(path))


def _stages() -> dict[str, object]:
    codes = [f"models/vq/{part}" for part in CODED]
    folder = "models/vq/${item.part}"
    program = "exec python -m tests.operations.registered"
    return {
        "features": {
            "cmd": f"{program} features",
            "params": [{RECIPE: ["clips"]}],
            "outs": [*DATA],
        },
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
            "cmd": f"{program} train_generator",
            "deps": [*codes, "data/codes", "data/features"],
            "params": [{RECIPE: ["noise"]}],
            "outs": ["bundle"],
        },
    }


def main(stage: str) -> None:
    """Write the outputs of a stage into the present folder."""
    recipe = _recipe(Path(RECIPE))
    if stage == "features":
        with TemporaryDirectory() as folder:
            splits = (*SPLITS, *["train"] * int(recipe["clips"]))
            built = write_checkout(Path(folder, "built"), splits=splits)
            for name in DATA:
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(built / name, name)
        return
    bundle = bundle_of_seed(0)
    torch.manual_seed(1)
    for network in (bundle.generator, *bundle.auto_encoders.values()):
        for parameter in network.parameters():
            parameter.add_(recipe["noise"] * torch.randn_like(parameter))
    bundle.save(Path("bundle"))


if __name__ == "__main__":
    main(*sys.argv[1:])
