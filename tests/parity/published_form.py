"""Names and shapes of the published state dicts, independent of our modules and key map."""

import math

import torch

Shapes = dict[str, tuple[int, ...]]
PARTS = ("face", "upper", "hands", "lower")


def under(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}.{key}": shape for key, shape in shapes.items()}


def linear(out: int, dim: int, *, bias: bool = True) -> Shapes:
    return {"weight": (out, dim), **({"bias": (out,)} if bias else {})}


def conv(out: int, dim: int, kernel: int) -> Shapes:
    return {"weight": (out, dim, kernel), "bias": (out,)}


def norm(dim: int) -> Shapes:
    return {"weight": (dim,), "bias": (dim,)}


def batch_norm(dim: int) -> Shapes:
    return {**norm(dim), "running_mean": (dim,), "running_var": (dim,), "num_batches_tracked": ()}


def residual(width: int) -> Shapes:
    return {**under("model.0", conv(width, width, 3)), **under("model.2", conv(width, width, 3))}


def conv_encoder(dim: int, width: int, layers: int) -> Shapes:
    shapes: Shapes = {}
    for k in range(layers):
        shapes |= under(f"main.{3 * k}", conv(width, width if k else dim, 3))
        shapes |= under(f"main.{3 * k + 2}", residual(width))
    return shapes


def conv_decoder(dim: int, width: int, layers: int) -> Shapes:
    shapes = {**under("main.0", residual(width)), **under("main.1", residual(width))}
    for k in range(layers):
        shapes |= under(f"main.{2 * k + 2}", conv(dim if k == layers - 1 else width, width, 3))
    return shapes | under(f"main.{2 * layers + 2}", conv(dim, dim, 3))


def auto_encoder(dim: int, width: int, layers: int, codes: int = 0) -> Shapes:
    book = {"quantizer.embedding.weight": (codes, width)} if codes else {}
    return {
        **under("encoder", conv_encoder(dim, width, layers)),
        **book,
        **under("decoder", conv_decoder(dim, width, layers)),
    }


def audio_block(dim: int, out: int, *, shortcut: bool) -> Shapes:
    shapes = {
        **under("conv1", conv(out, dim, 15)),
        **under("bn1", batch_norm(out)),
        **under("conv2", conv(out, out, 15)),
        **under("bn2", batch_norm(out)),
    }
    if shortcut:
        shapes |= {
            **under("downsample.0", conv(out, dim, 15)),
            **under("downsample.1", batch_norm(out)),
        }
    return shapes


def audio_encoder(channels: int, width: int, out: int) -> Shapes:
    widths = (channels, width, width, width, 2 * width, 2 * width, out)
    shapes: Shapes = {}
    for k in range(6):
        shapes |= under(
            f"feat_extractor.{k}", audio_block(widths[k], widths[k + 1], shortcut=k not in (2, 4))
        )
    for name, dims in (
        ("0.0", (width, 2 * width)),
        ("0.1", (2 * width, out)),
        ("1.0", (2 * width, out)),
    ):
        shapes |= under(f"multi_scale.{name}", audio_block(*dims, shortcut=True))
    return shapes | under("out", linear(out, 3 * out))


def mamba(dim: int) -> Shapes:
    inner = 2 * dim
    rank = math.ceil(dim / 16)
    return {
        "A_log": (inner, 16),
        "D": (inner,),
        "in_proj.weight": (2 * inner, dim),
        "conv1d.weight": (inner, 1, 4),
        "conv1d.bias": (inner,),
        "x_proj.weight": (rank + 32, inner),
        "dt_proj.weight": (inner, rank),
        "dt_proj.bias": (inner,),
        "out_proj.weight": (dim, inner),
    }


def mamba_layers(dim: int, hidden: int, layers: int) -> Shapes:
    width = -(-hidden // 128) * 128
    shapes = {}
    for k in range(layers):
        shapes |= under(
            f"layers.{k}",
            {
                **under("norm", norm(dim)),
                **under("mixer", mamba(dim)),
                **under("norm2", norm(dim)),
                "mlp.fc1.weight": (2 * width, dim),
                "mlp.fc2.weight": (dim, width),
            },
        )
    return shapes | under("norm_f", norm(dim))


def mamba_scan(dim: int, hidden: int, out: int, layers: int) -> Shapes:
    return mamba_layers(dim, hidden, layers) | under("out", linear(out, dim))


def attention(dim: int) -> Shapes:
    return {
        "in_proj_weight": (3 * dim, dim),
        "in_proj_bias": (3 * dim,),
        **under("out_proj", linear(dim, dim)),
    }


def transformer_layer(dim: int, *, decoder: bool = False) -> Shapes:
    cross = under("multihead_attn", attention(dim)) | under("norm3", norm(dim)) if decoder else {}
    return {
        **under("self_attn", attention(dim)),
        **under("linear1", linear(dim, dim)),
        **under("linear2", linear(dim, dim)),
        **under("norm1", norm(dim)),
        **under("norm2", norm(dim)),
        **cross,
    }


def mamba_model(dim: int, hidden: int) -> Shapes:
    return under("attention.layers.0", transformer_layer(dim)) | mamba_layers(dim, hidden, 1)


def mlp(dim: int, hidden: int, out: int) -> Shapes:
    return {**under("mlp.0", linear(hidden, dim)), **under("mlp.2", linear(out, hidden))}


def global_scan(hidden: int, audio: int, motion: int) -> Shapes:
    shapes = {
        "learnable_query": (1, 1, 337),
        "position_embeddings.pe": (1, 128, hidden),
        **under("motion_encoder", conv_encoder(337, motion, 3)),
        **under("motion_proj1", mlp(motion, hidden, motion)),
        **under("motion_proj2", linear(hidden, motion)),
    }
    for name in ("face_q_self_attn", "body_q_self_attn", "motion_self_encoder"):
        shapes |= under(f"{name}.layers.0", transformer_layer(hidden))
    return {
        **shapes,
        **under("face_scan", mamba_scan(audio, 2 * audio, audio, 1)),
        **under("body_scan", mamba_scan(motion, hidden, motion, 1)),
        **under("out", linear(hidden, audio + motion)),
    }


def local_scan(hidden: int, audio: int, codes: int) -> Shapes:
    shapes = {
        "position_embeddings.pe": (1, 128, hidden),
        **under("body_proj", linear(hidden, audio)),
    }
    for k in range(8):
        shapes |= under(f"motion_cross_attn.layers.{k}", transformer_layer(hidden, decoder=True))
    for part in PARTS:
        if part != "face":
            shapes |= under(f"motion2latent_{part}", mlp(hidden, hidden, hidden))
            shapes |= under(f"{part}_scan", mamba_model(hidden, hidden))
        shapes |= under(f"{part}_proj", linear(hidden, 2 * hidden))
        shapes |= under(f"motion_down_{part}", linear(codes, hidden))
        shapes |= under(f"{part}_classifier", mlp(codes, hidden, codes))
    return shapes | under("face_scan", mamba_scan(hidden, hidden, hidden, 4))


def generator(
    *,
    hidden: int = 768,
    audio: int = 512,
    width: int = 128,
    motion: int = 256,
    codes: int = 256,
    words: int = 11195,
) -> Shapes:
    shapes: Shapes = {}
    for branch, channels in (("face", 3), ("body", 2)):
        shapes |= {
            f"text_pre_encoder_{branch}.weight": (words, 300),
            **under(f"text_encoder_{branch}", linear(audio, 300)),
            **under(f"audio_pre_encoder_{branch}", audio_encoder(channels, width, audio)),
            **under(f"at_attn_{branch}", linear(2 * audio, 2 * audio)),
            f"speaker_encoder_{branch}.weight": (25, hidden),
        }
    return {
        **shapes,
        **under("global_scan", global_scan(hidden, audio, motion)),
        **under("local_scan", local_scan(hidden, audio, codes)),
    }


def fgd_encoder() -> Shapes:
    """Return the part of AESKConv_240_100.bin that FGD uses, and one array of its decoder."""
    shapes: Shapes = {"decoder.layers.0.0.weight": (120, 240, 3)}
    for k, (dim, out, pooled) in enumerate(
        ((330, 330, 210), (210, 210, 120), (120, 240, 0), (240, 240, 0))
    ):
        for name, kernel in (("residual.0", 4), ("shortcut", 1)):
            shapes |= under(
                f"encoder.layers.{k}.0.{name}",
                {"mask": (out, dim, kernel), **conv(out, dim, kernel)},
            )
        shapes |= under(f"encoder.layers.{k}.0.residual.1", norm(out))
        if pooled:
            shapes[f"encoder.layers.{k}.0.common.0.weight"] = (pooled, out)
    return shapes


AUTO_ENCODER_FILES = {
    "face.bin": auto_encoder(106, 256, 2, 256),
    "upper.bin": auto_encoder(78, 256, 2, 256),
    "hands.bin": auto_encoder(180, 256, 2, 256),
    "lower_foot.bin": auto_encoder(61, 256, 4, 256),
    "foot.bin": auto_encoder(61, 256, 4),
}


def parameters(shapes: Shapes) -> int:
    """Return the number of parameters of a published module, buffers excluded."""
    buffers = ("running_mean", "running_var", "num_batches_tracked", ".pe")
    return sum(math.prod(shape) for key, shape in shapes.items() if not key.endswith(buffers))


def random_state(shapes: Shapes, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return small random weights; variances are positive, positions and counters as published."""
    random = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        elif key.endswith(".pe"):
            state[key] = positions(shape[2])
        elif key.endswith("A_log"):
            state[key] = torch.arange(1.0, shape[1] + 1).log().repeat(shape[0], 1)
        else:
            fan_in = shape[-1] if len(shape) > 1 else 100
            value = torch.randn(shape, generator=random) * fan_in**-0.5
            state[key] = value.abs() + 0.5 if key.endswith("running_var") else value
    return state


def positions(dim: int) -> torch.Tensor:
    """Return the published positional table (1, 128, dim): 64 sinusoids, twice."""
    angle = torch.arange(64.0)[:, None] / 1e4 ** (torch.arange(0.0, dim, 2) / dim)
    table = torch.zeros(64, dim)
    table[:, 0::2], table[:, 1::2] = angle.sin(), angle.cos()
    return table.repeat(2, 1)[None]
