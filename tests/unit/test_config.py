"""A configuration with an error is rejected with a message that names the key."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from mambatalk.config import config_dict, load_config, parse_config
from mambatalk.errors import InputError
from mambatalk.training.modules.generator_step import LATENT_WEIGHT

ROOT = Path(__file__).parents[2]
PROFILES = sorted((ROOT / "infra" / "profiles").glob("*.yaml"))


@pytest.fixture
def values() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(ROOT / "infra" / "profiles" / "sample.yaml")


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_is_complete(path: Path) -> None:
    assert load_config(path).train_vq.global_.layers == 4


def test_the_profiles_exist() -> None:
    assert {path.stem for path in PROFILES} >= {"sample", "tiny", "paper", "clips", "streaming"}


def test_the_profile_for_streams_is_the_sample_with_another_generator() -> None:
    sample, streaming = (
        load_config(ROOT / "infra" / "profiles" / f"{name}.yaml")
        for name in ("sample", "streaming")
    )
    generator = replace(streaming.train_generator, streaming=False)
    assert replace(streaming, train_generator=generator) == sample


def test_the_checked_in_parameters_are_the_profile_sample() -> None:
    sample = load_config(ROOT / "infra" / "profiles" / "sample.yaml")
    assert sample.sample_corpus.enabled
    assert sample == load_config(ROOT / "params.yaml")


def test_the_paper_profile_has_the_published_sizes() -> None:
    paper = load_config(ROOT / "infra" / "profiles" / "paper.yaml")
    generator, common = paper.train_generator, paper.train_vq.common
    assert (generator.hidden, generator.audio_dim, generator.word_dim, generator.audio_width) == (
        768,
        512,
        300,
        128,
    )
    assert (generator.epochs, generator.batch_size, generator.lr, generator.clip_norm) == (
        200,
        64,
        2.5e-4,
        0.99,
    )
    assert (common.width, common.codebook_size, common.batch_size) == (256, 256, 64)
    assert (common.lr_decay, common.foot_weight, common.difference_weight) == (0.1, 20.0, 5.0)
    assert (generator.mask_start, generator.latent_weight) == (0.05, LATENT_WEIGHT)
    assert paper.train_fgd_encoder.betas == (0.9, 0.99)
    parts = {name: value for name, value in config_dict(paper.train_vq).items() if name != "common"}
    assert {block["lr"] for block in parts.values()} == {5e-5}
    epochs = {part: block["epochs"] for part, block in parts.items()}
    assert epochs == {"face": 800, "upper": 500, "hands": 800, "lower": 800, "global": 800}
    assert paper.ingest.speakers == [2]
    assert paper.body.mesh_vertices == 0


def test_an_unknown_key_is_named(values: dict[str, Any]) -> None:
    values["train_generator"]["learning_rate"] = 1.0
    with pytest.raises(InputError, match=r"train_generator\.learning_rate: .*found an unknown key"):
        parse_config(values)


def test_a_missing_key_is_named(values: dict[str, Any]) -> None:
    del values["train_vq"]["common"]["lr_decay"]
    with pytest.raises(InputError, match=r"train_vq\.common\.lr_decay: .*found no such key"):
        parse_config(values)


@pytest.mark.parametrize(
    ("section", "key", "wrong"),
    [
        ("train_generator", "epochs", "10"),
        ("train_generator", "epochs", 0),
        ("train_generator", "lr", "fast"),
        ("train_vq", "global", 3),
        ("ingest", "speakers", "2"),
        ("evaluate", "split", "train"),
        ("render", "clips", 1.5),
    ],
)
def test_a_wrong_value_is_named(
    values: dict[str, Any], section: str, key: str, wrong: object
) -> None:
    values[section][key] = wrong
    with pytest.raises(InputError, match=rf"{section}\.{key}: expected .*, found {wrong!r};"):
        parse_config(values)


def test_capitals_do_not_matter_in_names(values: dict[str, Any]) -> None:
    values["fidelity"] = "Published"
    values["evaluate"]["split"] = "VAL"
    config = parse_config(values)
    assert (config.fidelity, config.evaluate.split) == ("published", "val")


def test_a_missing_file_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file.*make profile"):
        load_config(tmp_path / "params.yaml")


def test_invalid_yaml_is_reported_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("seed: [1\nbody: }")
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)
    assert "expected valid YAML" in str(caught.value)


def test_a_configuration_can_be_converted_to_plain_values(values: dict[str, Any]) -> None:
    assert config_dict(parse_config(values)) == values
