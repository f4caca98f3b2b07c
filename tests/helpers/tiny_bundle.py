"""A bundle of small random networks: every part is real, only untrained."""

from typing import Any

import torch

from mambatalk.models.generator.network import Generator, GeneratorConfig
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder
from mambatalk.motion.skeleton import PART_DIMS, PARTS, AutoEncoderName
from mambatalk.synthesis.bundle import Bundle
from mambatalk.synthesis.rest import arms_down

CODES = 16
SPEAKER_IDS = (2, 30)


def tiny_bundle(seed: int = 0, **sizes: Any) -> Bundle:
    """Return the bundle of a seed; the same seed gives the same weights.

    Args:
        seed: Random seed.
        sizes: Other fields of the generator's configuration.

    """
    torch.manual_seed(seed)
    generator = Generator(
        GeneratorConfig(
            vocabulary_size=9,
            speakers=2,
            hidden=32,
            audio_dim=16,
            audio_width=4,
            word_dim=8,
            motion_dim=16,
            code_dim=12,
            codebook_size=CODES,
            **sizes,
        )
    )
    # The query for hidden motion starts at zero, which no trained network has.
    for parameter in generator.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    networks = {part: VQVAE(PART_DIMS[part], 12, 2, CODES) for part in PARTS}
    for network in networks.values():
        torch.nn.init.normal_(network.quantizer.table)
    auto_encoders: dict[AutoEncoderName, VQVAE | AutoEncoder] = dict(networks.items())
    auto_encoders["global"] = AutoEncoder(PART_DIMS["global"], 12, 2)
    for module in (generator, *auto_encoders.values()):
        module.eval().requires_grad_(False)
    return Bundle(
        generator=generator,
        auto_encoders=auto_encoders,
        vocabulary={"PAD": 0, "yes": 4},
        speakers={speaker: index for index, speaker in enumerate(SPEAKER_IDS)},
        fidelity="corrected",
        context_frames=4,
        window=64,
        rest=arms_down(),
        config={"seed": seed},
    )
