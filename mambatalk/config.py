"""The configuration: the sections of `params.yaml` as frozen dataclasses.

Unknown keys, missing keys and values of the wrong type are errors. Fields have no defaults, because
DVC tracks the values in `params.yaml` and would not notice a changed default. Settings that change
no result (device, number of workers, addresses, log level) are environment variables or options of
a command, not parameters.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mambatalk.errors import InputError
from mambatalk.fidelity import Fidelity

Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Correlation = Annotated[float, Field(ge=-1, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

AnyCase = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
"""For values with a fixed list of names: accept capitals."""

section = with_config(ConfigDict(extra="forbid", strict=True))


@section
@dataclass(frozen=True, kw_only=True)
class BodyConfig:
    """The SMPL-X body model, which computes joints and meshes."""

    path: str
    """npz file of the licensed SMPL-X model, or of the stand-in body that `prepare` writes."""
    mesh_vertices: Size
    """Vertices in the mesh losses, spread over the body; 0 selects all 10,475."""
    mesh_frames: Size
    """Consecutive frames per window in the mesh losses of face, upper body and hands.

    0 selects all.
    """


@section
@dataclass(frozen=True, kw_only=True)
class SampleCorpusConfig:
    """The embedded sample, with speech by eSpeak NG and motion from the motion rules."""

    enabled: bool
    """Whether to generate the sample; false if another corpus is used."""
    hours: Rate
    """Hours of motion."""
    speakers: Annotated[int, Field(ge=3)]
    """Number of speakers."""


@section
@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """Reading of the corpus into the clip store."""

    root: str
    """Language folder of the corpus in BEATX layout."""
    snapshot: str
    """Snapshot of that folder, written by `mambatalk snapshot`; the only data dependency."""
    speakers: list[int]
    """Ids of the speakers to use. Empty selects all speakers."""
    clips_per_shard: Count
    """Largest mean number of clips in a Parquet file."""


@section
@dataclass(frozen=True, kw_only=True)
class CheckClipsConfig:
    """Bounds of the data rules for clips."""

    min_seconds: Rate
    """Shortest motion, seconds; shorter clips are quarantined."""
    max_length_gap_seconds: Rate
    """Largest difference between the lengths of audio and motion, seconds; else quarantined."""
    max_joint_speed: Rate
    """Largest rotation speed of any joint, rad/s; faster clips are quarantined."""
    max_translation_speed: Rate
    """Largest speed of the whole body, m/s; faster clips are quarantined."""
    max_frozen_seconds: Rate
    """Longest time without any motion of the body or of one arm, seconds; else quarantined."""
    max_silent_share: Share
    """Largest share of silence, 0 to 1; more is a warning."""
    max_foot_offset: Rate
    """Largest distance of the lower foot from the floor, metres; else quarantined."""
    max_frozen_part_seconds: Rate
    """Longest time for which jaw, face, a hand or the legs do not move at all while the rest does,
    seconds; else quarantined."""
    min_face_agreement: Correlation
    """Smallest correlation of the speeds of jaw and expressions; else quarantined."""
    max_jitter: Rate
    """Largest noise of a joint from frame to frame, radians; else quarantined."""
    max_robust_z: Rate
    """Largest distance from what is usual for the speaker, in robust standard deviations; more is a
    warning."""
    min_expression_likeness: Correlation
    """Smallest correlation of the activity of the expression coefficients with the usual one; else
    quarantined."""
    min_finger_likeness: Correlation
    """Smallest cosine between the mean rotations of the fingers and the speaker's usual ones; less
    is a warning."""
    min_side_likeness: Correlation
    """Smallest share of the speaker's usual difference between left and right, -1 for a mirrored
    clip; less is a warning."""
    max_voice_distance: Rate
    """Largest distance of the voice from that of the speaker's other clips; more is a warning."""
    max_quarantined: Share
    """Largest share of quarantined clips, 0 to 1; with more the stage fails."""


@section
@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Extraction of the features."""

    ctc_model: str | None
    """Folder or Hugging Face name of a wav2vec2 CTC model; null sets the CTC channel to 0."""
    validation_share: Share
    """Share of the training clips to use for validation if the corpus has no validation split."""
    clips_per_shard: Count
    """Number of clips in a Parquet file."""


@section
@dataclass(frozen=True, kw_only=True)
class CheckFeaturesConfig:
    """Bounds of the data rules for features, all of them warnings."""

    max_unknown_words: Share
    """Largest share of frames with a word outside the vocabulary, 0 to 1."""
    max_silent_share: Share
    """Largest share of silence, 0 to 1."""
    max_floor_offset: Rate
    """Largest distance of the feet from the floor at height 0, metres."""


@section
@dataclass(frozen=True, kw_only=True)
class VQCommonConfig:
    """Settings that the five auto-encoders share."""

    width: Count
    """Channels of the latents and of a code vector."""
    quantizer: Annotated[Literal["learned", "moving_average", "scalar", "product"], AnyCase]
    """How latents become codes; published fidelity has `learned` only.

    `learned`: the nearest vector of a codebook, which learns by gradient. `moving_average`: the
    same, but each vector is the moving average of its latents. `scalar`: a few channels, rounded to
    at most 8 levels each; `codebook_size` has to be a product of numbers from 2 to 8. `product`: a
    small learned codebook for each half of the channels; `codebook_size` has to be a product of two
    numbers, and `width` even.
    """
    codebook_size: Count
    """Codes of each codebook."""
    window: Count
    """Frames of a window, at 30 frames per second."""
    stride: Count
    """Frames between the starts of training windows."""
    batch_size: Count
    """Windows of a step."""
    select: Annotated[Literal["best", "last"], AnyCase]
    """Epoch to keep: the one with the lowest validation loss, or the last; published fidelity keeps
    the last.
    """
    patience: Size
    """Epochs without a lower validation loss after which training ends; 0 runs all epochs."""
    lr_decay: Rate
    """Factor on the learning rate from each part's `decay_epoch` on."""
    betas: tuple[Momentum, Momentum]
    """Weights of the past in Adam's two moving averages, of the gradient and of its square."""
    mesh_weight: Weight
    """Weight of the mesh terms; 0 computes none."""
    foot_weight: Weight
    """Weight of the foot-sliding term of `lower` and `global`."""
    difference_weight: Weight
    """Weight of the velocity and acceleration terms of `global`."""
    revive_dead_codes: bool
    """Whether to replace codes that are never used; corrected fidelity only."""
    dead_code_share: Share
    """A code is dead if it is used less than this multiple of 1 / size of its codebook."""
    code_usage_momentum: Share
    """Weight of the past in the moving averages of code usage and of code vectors, per step."""


@section
@dataclass(frozen=True, kw_only=True)
class VQPartConfig:
    """Settings of one auto-encoder."""

    layers: Count
    """Convolution blocks of the encoder, and of the decoder; all keep the number of frames."""
    epochs: Count
    """Passes over the training windows."""
    lr: Rate
    """Learning rate of Adam."""
    decay_epoch: Count
    """Epoch from which the learning rate is lower and dead codes are not revived; a number beyond
    the last epoch means never.
    """
    min_deviation: Rate
    """Smallest standard deviation that data-dependent initialisation assumes of a channel, in the
    channel's unit: none for 6D rotations and expressions, m/s for velocities. The global-motion net
    needs a small one: a millimetre of the root shows in the legs as 0.001 rad.
    """


@section
@dataclass(frozen=True, kw_only=True)
class TrainVQConfig:
    """The motion auto-encoders."""

    common: VQCommonConfig
    face: VQPartConfig
    upper: VQPartConfig
    hands: VQPartConfig
    lower: VQPartConfig
    # `global` is a Python keyword.
    global_: Annotated[VQPartConfig, Field(alias="global")]

    def network(self, name: str) -> VQPartConfig:
        """Return the parameters of one auto-encoder."""
        networks = {
            "face": self.face,
            "upper": self.upper,
            "hands": self.hands,
            "lower": self.lower,
            "global": self.global_,
        }
        return networks[name]


@section
@dataclass(frozen=True, kw_only=True)
class TrainFGDConfig:
    """The motion auto-encoder behind FGD."""

    published: str | None
    """Path of AESKConv_240_100.bin to import it; null trains an encoder."""
    latent: Count
    """Channels of a feature, a multiple of 20."""
    decoder_hidden: Count
    """Channels inside the decoder, which is used in training only."""
    window: Count
    """Frames of a window, at 30 frames per second."""
    stride: Count
    """Frames between the starts of training windows."""
    batch_size: Count
    """Windows of a step."""
    select: Annotated[Literal["best", "last"], AnyCase]
    """Epoch to keep: the one with the lowest validation loss, or the last; published fidelity keeps
    the last.
    """
    patience: Size
    """Epochs without a lower validation loss after which training ends; 0 runs all epochs."""
    lr: Rate
    """Learning rate of Adam."""
    betas: tuple[Momentum, Momentum]
    """Weights of the past in Adam's two moving averages, of the gradient and of its square."""
    min_deviation: Rate
    """Smallest standard deviation that data-dependent initialisation assumes of a channel of 6D
    rotations.
    """
    epochs: Count
    """Passes over the training windows."""


@section
@dataclass(frozen=True, kw_only=True)
class TrainGeneratorConfig:
    """The generator and its training step."""

    hidden: Count
    """Channels of the hidden states."""
    audio_dim: Count
    """Channels of encoded audio."""
    word_dim: Count
    """Channels of a word embedding."""
    audio_width: Count
    """Channels of the first audio block; later blocks double them."""
    dropout: Share
    """Share of activations that training sets to zero, 0 to 1."""
    window: Count
    """Frames of a window, at 30 frames per second."""
    stride: Count
    """Frames between the starts of training windows."""
    context_frames: Count
    """Frames at the start of a window that the full mask does not hide."""
    batch_size: Count
    """Windows of a step."""
    select: Annotated[Literal["best", "last"], AnyCase]
    """Epoch to keep: the one with the lowest validation loss, or the last; published fidelity keeps
    the last.
    """
    patience: Size
    """Epochs without a lower validation loss after which training ends; 0 runs all epochs."""
    lr: Rate
    """Learning rate of Adam."""
    betas: tuple[Momentum, Momentum]
    """Weights of the past in Adam's two moving averages, of the gradient and of its square."""
    clip_norm: Rate
    """Largest norm of the gradient."""
    epochs: Count
    """Passes over the training windows."""
    mask_start: Share
    """Probability in the first epoch that the random mask hides a channel; it grows to 1."""
    latent_weight: Weight
    """Weight of the latent loss beside the index loss."""
    random_weight: Weight
    """Weight of the randomly masked passes beside the full one, 2 as published; 0 leaves them out,
    which halves the time of a step.
    """
    random_mask: Annotated[Literal["channels", "prefix"], AnyCase]
    """What the random mask hides: single channels, as published, or all frames after a random one.
    """
    random_passes: Literal[1, 2]
    """Randomly masked passes in a step, with the weight shared between them; published fidelity
    makes two.
    """
    global_scan: bool
    """Whether the global scan has its Mamba layers; false is the paper's ablation without them."""
    local_scan: bool
    """Whether the local scans have their Mamba layers; false is the paper's ablation without them.
    """
    use_words: bool
    """Whether words are an input beside the audio."""
    speaker: Annotated[Literal["added", "adaptive", "attention"], AnyCase]
    """How the states depend on the speaker. `added`: a vector is added to them, as published.
    `adaptive`: their normalised values, scaled and shifted by the speaker, are added. `attention`:
    the result of attention to 8 vectors of the speaker is added. The last two start as if all
    speakers were one; corrected fidelity only.
    """
    target: Annotated[Literal["codes", "motion"], AnyCase]
    """What the generator learns to predict: codes of the auto-encoders, as published; or the motion
    that these reconstruct, by mean squared error, which is the paper's ablation without VQ-VAEs
    (corrected fidelity only).
    """
    text_dropout: Share
    """Probability that a training window loses its words; corrected fidelity only."""
    streaming: bool
    """Train for motion while audio arrives (docs/streaming.md); corrected fidelity only."""


@section
@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Selection of the clips to evaluate."""

    split: Annotated[Literal["val", "test"], AnyCase]
    """Split to evaluate."""
    max_clips: Size
    """Largest number of clips; 0 selects all."""
    codes: Annotated[Literal["chain", "likely", "drawn"], AnyCase]
    """How codes of the body are chosen. `chain`: as sequences under the transitions of training,
    which published fidelity does not have. `likely`: the most likely code of each frame. `drawn`: a
    random code in each frame, at temperature 0.9 from the most likely codes that together have
    probability 0.9.
    """


@section
@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Videos of generated motion next to the ground truth."""

    clips: Count
    """Number of clips to render."""
    seconds: Rate
    """Longest video, seconds; longer clips are cut."""
    height: Count
    """Height of a video, pixels; its width is 16/9 of it."""


CompareMetric = Literal["fgd", "kid", "bc", "l1div", "mse", "lvd", "foot_skating"]
"""Metrics that the promotion gate compares."""


@section
@dataclass(frozen=True, kw_only=True)
class PromotionConfig:
    """Rules of the promotion gate. No stage reads them, so a change reruns nothing."""

    min_clips: Annotated[int, Field(ge=2)]
    """Test clips that a comparison needs; with fewer it is not run."""
    min_gain: Share
    """Gain that FGD or the kernel distance must show, as a share of the champion's distance."""
    tolerance: Share
    """Largest accepted loss in any metric, as a share of the champion's value, or of ground truth's
    for a metric that is compared with ground truth.
    """
    exclude_loss: list[CompareMetric]
    """Metrics whose whole 95 % interval must lie within `tolerance`. The other metrics fail only if
    their whole interval lies beyond it (docs/gate.md).
    """
    beat_mean_pose: list[CompareMetric]
    """Metrics that must be better than those of the mean pose."""
    beat_random_clip: list[CompareMetric]
    """Metrics that must be better than those of a random training clip."""
    max_synthesis_time: Rate
    """Longest synthesis on the CPU, seconds for one second of motion."""
    max_memory_mib: Count
    """Largest resident memory of the process that synthesises, MiB."""


@section
@dataclass(frozen=True, kw_only=True)
class Config:
    """The content of `params.yaml`."""

    seed: Seed
    """Seed for the sample, the initial weights and the order of training."""
    fidelity: Annotated[Fidelity, AnyCase]
    """Behaviour where the published implementation has bugs; docs/fidelity.md lists them."""
    body: BodyConfig
    sample_corpus: SampleCorpusConfig
    ingest: IngestConfig
    check_clips: CheckClipsConfig
    features: FeaturesConfig
    check_features: CheckFeaturesConfig
    train_vq: TrainVQConfig
    train_fgd_encoder: TrainFGDConfig
    train_generator: TrainGeneratorConfig
    evaluate: EvaluateConfig
    render: RenderConfig
    promotion: PromotionConfig


def load_config(path: str | Path = "params.yaml") -> Config:
    """Read and check a parameter file.

    Args:
        path: File with all sections.

    Raises:
        InputError: The file is missing or is not YAML, a key is unknown or missing, or a value is
            invalid. The message names the first error only.

    """
    try:
        return parse_config(YAML(typ="safe", pure=True).load(Path(path)), where=str(path))
    except FileNotFoundError:
        raise InputError(
            path,
            "expected a parameter file, found no such file",
            "run in the repository root, or write the file with `make profile P=sample`",
        ) from None
    except YAMLError as error:
        raise InputError(
            path, f"expected valid YAML, found an error ({error})", "correct the line named here"
        ) from None


def parse_config(values: Any, *, where: str = "params.yaml") -> Config:
    """Check a mapping in the same way as `load_config` checks a file.

    Args:
        values: Sections by name.
        where: Name of the source for error messages.

    Raises:
        InputError: See `load_config`.

    """
    try:
        # Validated as JSON, because strict validation of Python objects would accept neither
        # mappings for dataclasses nor lists for tuples.
        return TypeAdapter(Config).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise _first_error(error, where) from None


def config_dict(value: Any) -> dict[str, Any]:
    """Convert a configuration, or a section of one, to nested dicts with the keys of the file."""
    return TypeAdapter(type(value)).dump_python(value, by_alias=True, mode="json")


def _first_error(error: ValidationError, where: str) -> InputError:
    """Convert the first error of a validation."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "top level"
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        problem = "expected no such key, found an unknown key"
        hint = "remove it or correct its name"
    elif first["type"].startswith("missing"):
        problem = "expected a value, found no such key"
        hint = "add it; infra/profiles/ has complete files"
    else:
        expected = first["msg"].removeprefix("Input should be ")
        problem = f"expected {expected}, found {first['input']!r}"
        hint = "correct the value"
    return InputError(f"{where}: {key}", problem, hint)
