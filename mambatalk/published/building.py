"""Build our networks from published state dicts, ready for inference.

Sizes are read from the shapes of the arrays. Numbers of attention heads are not in any shape; they
are the published 4 and 8. Every function raises `InputError` if an array is missing or has another
shape.
"""

import re

from mambatalk.errors import InputError
from mambatalk.models.generator.audio_encoder import AudioEncoder
from mambatalk.models.generator.network import Generator, GeneratorConfig
from mambatalk.models.mamba.block import MambaAttention, MambaBlock, MambaScan
from mambatalk.models.vq.vqvae import VQVAE, AutoEncoder
from mambatalk.published.keymap import Translation
from mambatalk.published.loading import check_derived, load_translated


def build_vqvae(translation: Translation) -> VQVAE:
    """Build an auto-encoder with a codebook."""
    codebook_size = translation.shape("quantizer.embedding.weight")[0]
    network = VQVAE(*_auto_encoder_sizes(translation), codebook_size)
    return load_translated(network, translation)


def build_auto_encoder(translation: Translation) -> AutoEncoder:
    """Build the auto-encoder without a codebook."""
    return load_translated(AutoEncoder(*_auto_encoder_sizes(translation)), translation)


def build_audio_encoder(translation: Translation) -> AudioEncoder:
    """Build an audio encoder."""
    width, channels = translation.shape("blocks.0.conv1.weight")[:2]
    dim = translation.shape("projection.weight")[0]
    return load_translated(AudioEncoder(channels, width, dim), translation)


def build_mamba_block(translation: Translation) -> MambaBlock:
    """Build one Mamba-1 block."""
    inner, state = translation.shape("A_log")
    dim = translation.shape("out_proj.weight")[0]
    kernel = translation.shape("conv1d.weight")[2]
    block = MambaBlock(dim, state=state, kernel=kernel, expand=inner // dim)
    return load_translated(block, translation)


def build_mamba_scan(translation: Translation) -> MambaScan:
    """Build the causal stack of Mamba blocks."""
    hidden, dim, layers = _stack_sizes(translation)
    out = translation.shape("out.weight")[0]
    return load_translated(MambaScan(dim, hidden, out, layers), translation)


def build_mamba_attention(translation: Translation) -> MambaAttention:
    """Build the stack of Mamba blocks with attention in front."""
    hidden, dim, layers = _stack_sizes(translation)
    return load_translated(MambaAttention(dim, hidden, layers), translation)


def build_generator(translation: Translation) -> Generator:
    """Build the generator; a positional table in the file must equal the one that we compute."""
    generator = load_translated(Generator(generator_config(translation)), translation)
    derived = {}
    for name in ("global_scan", "local_scan"):
        key = f"{name}.position_embeddings.pe"
        if key in translation.left_out:
            length = translation.left_out[key].value.shape[1]
            table = getattr(generator, name).position.table
            repeats = -(-length // len(table))
            derived[key] = table.repeat(repeats, 1)[None, :length]
    check_derived(translation, derived)
    return generator


def generator_config(translation: Translation) -> GeneratorConfig:
    """Return the sizes of a generator."""
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
        # A layer takes three places: convolution, activation, residual block.
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
    """Return one more than the largest number that the pattern finds at the start of a name."""
    matches = [re.match(pattern, name) for name in translation.state]
    numbers = [int(match[1]) for match in matches if match]
    count = 1 + max(numbers, default=-1)
    # A wrong key must not build millions of layers.
    if count > len(translation.state):
        raise InputError(
            translation.where,
            f"expected consecutive layer numbers, found layer {count - 1}",
            "remove the key that does not belong to the network",
        )
    return count
