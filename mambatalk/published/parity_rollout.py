"""Parity of inference over several windows: seeds, sound slices, outputs and codes of each, and the
clip's motion.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from mambatalk.fidelity import PUBLISHED
from mambatalk.models.generator.network import GeneratorOutput
from mambatalk.models.vq.vqvae import VQVAE
from mambatalk.models.vq.vqvae import AutoEncoder as GlobalNet
from mambatalk.motion.rotations import axis_angle_to_6d
from mambatalk.motion.skeleton import AUTO_ENCODERS, JOINT_COUNT, PART_JOINTS, PARTS, Part
from mambatalk.published.building import build_auto_encoder, build_generator, build_vqvae
from mambatalk.published.fixture import ROLLOUT_BAR, Fixture, Measure, compare_codes
from mambatalk.synthesis.rollout import decode
from mambatalk.synthesis.windows import Codes, Rolling, Speech, Window, join_codes, run_windows

Mode = Literal["published", "exact_hop"]

SEED_FRAMES = 4


def check_rollout(fixture: Fixture) -> Iterator[Measure]:
    """The published inference on one window, on several, and on several with an exact sound hop."""
    yield from _check_masks(fixture)
    rollout = _Rollout(fixture)
    for mode in ("published", "exact_hop"):
        windows = rollout.run(mode, len(fixture["poses"]))
        yield from _compare_windows(fixture, mode, windows, rollout)
        yield from rollout.compare_motion(mode, mode, windows)
    window = fixture["published/window/rec_face"].shape[1]
    yield from rollout.compare_motion("one_window", "published", rollout.run("published", window))


class _RoundedFace(VQVAE):
    """A face decoder that rounds as the published one does.

    Published inference decodes z + (code - z), which is the code but for a last bit that depends on
    the latent z. The published matrix-to-axis-angle formula turns that bit into up to 3e-4 rad of
    jaw, so here z is the fixture's own.
    """

    def __init__(self, face: VQVAE, latent: Tensor) -> None:
        nn.Module.__init__(self)
        self.encoder, self.quantizer, self.decoder = face.encoder, face.quantizer, face.decoder
        self._latent = latent

    def decode_index(self, index: Tensor) -> Tensor:
        """Codes (1, T) to motion, T the length of the latents."""
        return self.decode(self.quantizer.quantized(self._latent[None], index).vectors)


class _Rollout:
    """The networks and the clip of one file."""

    def __init__(self, fixture: Fixture) -> None:
        self._fixture = fixture
        self._generator = build_generator(fixture.beside("generator").state("generator"))
        states = {name: fixture.state("auto_encoder", f"state_{name}") for name in AUTO_ENCODERS}
        self.networks: dict[Part, VQVAE] = {part: build_vqvae(states[part]) for part in PARTS}
        self._global_net: GlobalNet = build_auto_encoder(states["global"])
        rotations = axis_angle_to_6d(fixture["poses"].unflatten(-1, (JOINT_COUNT, 3))).flatten(1)
        self._motion = torch.cat([rotations, fixture["trans"], fixture["contact"]], dim=-1)

    def run(self, mode: Mode, frames: int) -> list[Window]:
        """Run the first frames of the clip, codes of near ties settled as published."""
        fixture = self._fixture
        speech = Speech(
            audio=fixture["audio"],
            words=fixture["word"][:frames],
            speaker=int(fixture["speaker"]),
            frames=frames,
        )

        def settle(number: int, output: GeneratorOutput, codes: Codes) -> Codes:
            return {
                part: compare_codes(
                    "",
                    "",
                    code_scores(self.networks, output, part)[0],
                    fixture[f"{mode}/window/code_{part}"][number],
                ).settled
                for part in codes
            }

        return run_windows(
            self._generator,
            self.networks,
            speech,
            self._motion[:SEED_FRAMES],
            self._rolling(mode),
            settle,
        )

    def _rolling(self, mode: Mode) -> Rolling:
        window = self._fixture["published/window/rec_face"].shape[1]
        return Rolling(
            window=window,
            seed_frames=SEED_FRAMES,
            rules=replace(PUBLISHED, exact_audio_slice=mode == "exact_hop"),
        )

    def compare_motion(self, name: str, mode: Mode, windows: list[Window]) -> Iterator[Measure]:
        """The decoded motion of a run."""
        networks = self.networks | {"face": self._rounded_face(mode, len(windows))}
        decoded = decode(
            join_codes(windows, self._rolling(mode)),
            networks,
            self._global_net,
            self._fixture["trans"][0],
            PUBLISHED,
        )
        for key, ours in (
            ("pose", decoded.pose),
            ("trans", decoded.trans),
            ("exps", decoded.expressions),
        ):
            yield self._fixture.close(f"{name}/rec_{key}", ours, bar=ROLLOUT_BAR)

    def _rounded_face(self, mode: Mode, count: int) -> VQVAE:
        latents = self._fixture[f"{mode}/window/rec_face"][:count]
        joined = torch.cat([latent[SEED_FRAMES if k else 0 :] for k, latent in enumerate(latents)])
        return _RoundedFace(self.networks["face"], joined)


def code_scores(networks: dict[Part, VQVAE], output: GeneratorOutput, part: Part) -> Tensor:
    """Scores (1, T, codes) whose greatest is the code: the face takes the code nearest to its
    latent.
    """
    if part == "face":
        return -networks[part].quantizer.distances(output.latent[part])
    return output.logits[part]


def _compare_windows(
    fixture: Fixture, mode: Mode, windows: list[Window], rollout: _Rollout
) -> Iterator[Measure]:
    where = f"{mode}/window"
    yield fixture.close(
        f"{where}/seed", torch.stack([window.seed for window in windows]), bar=ROLLOUT_BAR
    )
    for field in ("audio_start", "audio_length"):
        yield fixture.equal(
            f"{where}/{field}", torch.tensor([getattr(window, field) for window in windows])
        )
    for part in PARTS:
        for key, field in (("rec", "latent"), ("cls", "logits")):
            ours = torch.cat([getattr(window.output, field)[part] for window in windows])
            yield fixture.close(f"{where}/{key}_{part}", ours, bar=ROLLOUT_BAR)
        quantity = f"{where}/code_{part}"
        scores = torch.cat(
            [code_scores(rollout.networks, window.output, part) for window in windows]
        )
        yield compare_codes(fixture.name, quantity, scores, fixture[quantity]).measure


def _check_masks(fixture: Fixture) -> Iterator[Measure]:
    for part in ("upper", "hands", "lower"):
        ours = torch.zeros(JOINT_COUNT, 3, dtype=torch.bool)
        ours[list(PART_JOINTS[part])] = True
        yield fixture.equal(f"mask_{part}", ours.flatten())
