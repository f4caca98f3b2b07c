"""Our modules built to the sizes of a published state dict and filled with it, in evaluation mode.

Only head counts are not in the arrays; they are the published 4 and 8.
"""

import re

from mambatalk.errors import InputError
from mambatalk.models.generator.audio_encoder import AudioEncoder
from mambatalk.models.generator.network import Generator, GeneratorConfig
from mambatalk.models.mamba.block import MambaAttention, MambaBlock, MambaScan
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder
from mambatalk.published.filling import check_derived, fill
from mambatalk.published.keymap import Translation


def build_vqvae(translation: Translation) -> VQVAE:
    """An auto-encoder with a code book."""
    codebook_size = translation.shape("quantizer.embedding.weight")[0]
    return fill(VQVAE(*_auto_encoder_sizes(translation), codebook_size), translation)


def build_auto_encoder(translation: Translation) -> AutoEncoder:
    """The plain auto-encoder."""
    return fill(AutoEncoder(*_auto_encoder_sizes(translation)), translation)


def build_audio_encoder(translation: Translation) -> AudioEncoder:
    """A sound encoder."""
    width, channels = translation.shape("blocks.0.conv1.weight")[:2]
    return fill(
        AudioEncoder(channels, width, translation.shape("projection.weight")[0]), translation
    )


def build_mamba_block(translation: Translation) -> MambaBlock:
    """One Mamba-1 block."""
    inner, state = translation.shape("A_log")
    dim, kernel = translation.shape("out_proj.weight")[0], translation.shape("conv1d.weight")[2]
    return fill(MambaBlock(dim, state=state, kernel=kernel, expand=inner // dim), translation)


def build_mamba_scan(translation: Translation) -> MambaScan:
    """The causal stack."""
    hidden, dim, layers = _stack_sizes(translation)
    return fill(MambaScan(dim, hidden, translation.shape("out.weight")[0], layers), translation)


def build_mamba_attention(translation: Translation) -> MambaAttention:
    """The stack with attention in front."""
    hidden, dim, layers = _stack_sizes(translation)
    return fill(MambaAttention(dim, hidden, layers), translation)


def build_generator(translation: Translation) -> Generator:
    """The generator; a stored positional table must be the one we compute."""
    generator = fill(Generator(generator_config(translation)), translation)
    derived = {}
    for name in ("global_scan", "local_scan"):
        key = f"{name}.position_embeddings.pe"
        if key in translation.left_out:
            table = getattr(generator, name).position.table
            repeats = -(-translation.left_out[key].value.shape[1] // len(table))
            derived[key] = table.repeat(repeats, 1)[
                None, : translation.left_out[key].value.shape[1]
            ]
    check_derived(translation, derived)
    return generator


def generator_config(translation: Translation) -> GeneratorConfig:
    """The sizes of a generator."""
    shape = translation.shape
    return GeneratorConfig(
        vocabulary_size=shape("fusion.face.embedding.weight")[0],
        word_dim=shape("fusion.face.embedding.weight")[1],
        speakers=shape("speaker.body.weight")[0],
        hidden=shape("speaker.body.weight")[1],
        audio_dim=shape("fusion.face.word_projection.weight")[0],
        audio_width=shape("fusion.face.audio.blocks.0.conv1.weight")[0],
        motion_dim=shape("global_scan.motion_projection.weight")[1],
        code_dim=shape("local_scan.to_latent.face.weight")[0],
        codebook_size=shape("local_scan.to_logits.face.2.weight")[0],
        decoder_layers=_count(translation, r"local_scan\.decoder\.layers\.(\d+)\."),
        # Convolution, activation, residual block: three places of the sequence to a layer.
        motion_layers=-(-_count(translation, r"global_scan\.motion_encoder\.(\d+)\.") // 3),
        face_layers=_count(translation, r"local_scan\.scan\.face\.layers\.(\d+)\."),
    )


def _auto_encoder_sizes(translation: Translation) -> tuple[int, int, int]:
    width, dim = translation.shape("encoder.0.weight")[:2]
    return dim, width, -(-_count(translation, r"encoder\.(\d+)\.") // 3)


def _stack_sizes(translation: Translation) -> tuple[int, int, int]:
    width, dim = translation.shape("layers.0.mlp.fc1.weight")
    return width // 2, dim, _count(translation, r"layers\.(\d+)\.")


def _count(translation: Translation, pattern: str) -> int:
    """One more than the greatest number that the pattern finds at the start of a name."""
    count = 1 + max(
        (int(found[1]) for name in translation.state if (found := re.match(pattern, name))),
        default=-1,
    )
    if count > len(translation.state):  # A stray key is no reason to build millions of layers.
        raise InputError(
            translation.where,
            f"expected layers numbered in turn, found a layer numbered {count - 1}",
            "remove the key that does not belong to the network",
        )
    return count
