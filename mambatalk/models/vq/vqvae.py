"""The five motion auto-encoders: four with a codebook, one without.

There is one latent per frame. With L layers:

- encoder: L times [convolution, LeakyReLU, residual block];
- decoder: two residual blocks, L - 1 convolutions at full width, one to the channels of the data,
  and one at those channels.

All kernels span 3 frames. A code depends on 6 (L = 2) to 12 (L = 4) frames on either side. Beyond
the ends of the motion, published convolutions see zeros, which no pose resembles. Source: paper,
motion representation; published `VQVAEConvZero` and `VAEConvZero`.
"""

from typing import Literal, NamedTuple

from torch import Tensor, nn

from mambatalk.models.vq.quantizer import Quantized, QuantizerKind, build_quantizer

Borders = Literal["zeros", "replicate"]
"""What convolutions see beyond the first and the last frame: zeros, or that frame again."""


class VQOutput(NamedTuple):
    """Result of a forward pass of `VQVAE`."""

    reconstruction: Tensor
    """(B, T, dim)."""
    quantized: Quantized


class ResidualBlock(nn.Sequential):
    """Two convolutions and a skip connection, without an activation after the sum."""

    def __init__(self, width: int, borders: Borders) -> None:
        super().__init__(
            _convolution(width, width, borders),
            nn.LeakyReLU(0.2),
            _convolution(width, width, borders),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C, T)."""
        return x + super().forward(x)


class ConvEncoder(nn.Sequential):
    """Encoder from motion channels to latents, at the same frame rate.

    Args:
        dim: Channels of the motion.
        width: Channels of the latents.
        layers: Number L of layers.
        borders: What convolutions see beyond the ends.

    """

    def __init__(self, dim: int, width: int, layers: int, borders: Borders = "zeros") -> None:
        blocks: list[nn.Module] = []
        for layer in range(layers):
            blocks += [
                _convolution(width if layer else dim, width, borders),
                nn.LeakyReLU(0.2),
                ResidualBlock(width, borders),
            ]
        super().__init__(*blocks)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, dim) to (B, T, width)."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class ConvDecoder(nn.Sequential):
    """Decoder from latents to motion channels, at the same frame rate.

    Args:
        dim: Channels of the motion.
        width: Channels of the latents.
        layers: Number L of layers.
        borders: What convolutions see beyond the ends.

    """

    def __init__(self, dim: int, width: int, layers: int, borders: Borders = "zeros") -> None:
        blocks: list[nn.Module] = [ResidualBlock(width, borders), ResidualBlock(width, borders)]
        for layer in range(layers):
            blocks += [
                _convolution(width, dim if layer == layers - 1 else width, borders),
                nn.LeakyReLU(0.2),
            ]
        super().__init__(*blocks, _convolution(dim, dim, borders))
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, width) to (B, T, dim)."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class AutoEncoder(nn.Module):
    """The auto-encoder without a codebook, which is the global-motion net.

    Args:
        dim: Channels of the motion.
        width: Channels of the latents.
        layers: Number of layers of encoder and decoder.
        borders: What convolutions see beyond the ends.

    """

    def __init__(self, dim: int, width: int, layers: int, borders: Borders = "zeros") -> None:
        super().__init__()
        self.borders = borders
        self.encoder = ConvEncoder(dim, width, layers, borders)
        self.decoder = ConvDecoder(dim, width, layers, borders)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, dim) to (B, T, dim)."""
        return self.decoder(self.encoder(x))


class VQVAE(nn.Module):
    """An auto-encoder whose latents are replaced by code vectors.

    Args:
        dim: Channels of the motion.
        width: Channels of latents and code vectors.
        layers: Number of layers of encoder and decoder.
        codebook_size: Number of codes.
        borders: What convolutions see beyond the ends.
        quantizer: How latents become codes.

    Raises:
        ValueError: The quantiser cannot have this width or number of codes.

    """

    def __init__(
        self,
        dim: int,
        width: int,
        layers: int,
        codebook_size: int,
        borders: Borders = "zeros",
        quantizer: QuantizerKind = "learned",
    ) -> None:
        super().__init__()
        self.borders = borders
        self.encoder = ConvEncoder(dim, width, layers, borders)
        self.quantizer = build_quantizer(quantizer, codebook_size, width)
        self.decoder = ConvDecoder(dim, width, layers, borders)

    def encode(self, x: Tensor) -> Tensor:
        """Map motion (B, T, dim) to continuous latents (B, T, width)."""
        return self.encoder(x)

    def quantize(self, latent: Tensor) -> Quantized:
        """Replace latents (B, T, width) by the vectors of their codes."""
        return self.quantizer(latent)

    def decode(self, vectors: Tensor) -> Tensor:
        """Map code vectors (B, T, width) to motion (B, T, dim)."""
        return self.decoder(vectors)

    def decode_index(self, index: Tensor) -> Tensor:
        """Map codes (B, T) to motion (B, T, dim)."""
        return self.decoder(self.quantizer.lookup(index))

    def forward(self, x: Tensor) -> VQOutput:
        """Encode, quantise and decode motion (B, T, dim)."""
        quantized = self.quantize(self.encode(x))
        return VQOutput(self.decode(quantized.vectors), quantized)


def _convolution(channels_in: int, channels_out: int, borders: Borders) -> nn.Conv1d:
    return nn.Conv1d(channels_in, channels_out, kernel_size=3, padding=1, padding_mode=borders)


def _initialise(module: nn.Module) -> None:
    # As published.
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.xavier_normal_(parameter)
