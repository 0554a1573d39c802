"""Convolutional networks for images of any size: gated and residual encoders and decoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

ConvKind = Literal["gated_conv", "resnet"]


class GatedConv(nn.Module):
    """A convolution whose output is gated by another, a ⊙ sigmoid(b) (Dauphin et al. 2017).

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of feature maps.
    stride : int, default 1
        2 halves the image, rounding up.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.conv_networks import GatedConv
    >>> GatedConv(1, 8, stride=2)(torch.zeros(5, 1, 7, 8)).shape
    torch.Size([5, 8, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 2 * out_channels, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer.

        Parameters
        ----------
        x : Tensor of shape (B, in_channels, H, W)
            Feature maps.

        Returns
        -------
        Tensor of shape (B, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)
        """
        return functional.glu(self.conv(x), dim=1)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, x + conv(elu(conv(elu(x)))) (He et al. 2016, full pre-activation).

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of feature maps; where they differ, the shortcut is a 1 × 1 convolution.
    stride : int, default 1
        2 halves the image, rounding up; the shortcut then takes each other pixel.

    Notes
    -----
    There is no batch normalisation: an image's density must not depend on the other images of its batch.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.conv_networks import ResidualBlock
    >>> ResidualBlock(4, 8, stride=2)(torch.zeros(5, 4, 7, 8)).shape
    torch.Size([5, 8, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block.

        Parameters
        ----------
        x : Tensor of shape (B, in_channels, H, W)
            Feature maps.

        Returns
        -------
        Tensor of shape (B, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)
        """
        moved: Tensor = self.second(functional.elu(self.first(functional.elu(x))))
        return self.shortcut(x) + moved


class Upsample(nn.Module):
    """A transposed convolution of stride 2 to an exact size, followed by a gate or an ELU.

    Parameters
    ----------
    channels : int
        Number of feature maps, in and out.
    size_in, size_out : tuple of int
        Heights and widths; each of `size_in` is half of that of `size_out`, rounded up.
    gated : bool
        Whether a ⊙ sigmoid(b) follows, or an ELU.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.conv_networks import Upsample
    >>> Upsample(8, (4, 4), (7, 8), gated=True)(torch.zeros(5, 8, 4, 4)).shape
    torch.Size([5, 8, 7, 8])
    """

    def __init__(
        self, channels: int, size_in: tuple[int, int], size_out: tuple[int, int], *, gated: bool
    ) -> None:
        super().__init__()
        self.gated = gated
        self.conv = nn.ConvTranspose2d(
            channels,
            2 * channels if gated else channels,
            3,
            stride=2,
            padding=1,
            output_padding=(size_out[0] - (2 * size_in[0] - 1), size_out[1] - (2 * size_in[1] - 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer.

        Parameters
        ----------
        x : Tensor of shape (B, channels, *size_in)
            Feature maps.

        Returns
        -------
        Tensor of shape (B, channels, *size_out)
        """
        y: Tensor = self.conv(x)
        return functional.glu(y, dim=1) if self.gated else functional.elu(y)


class ConvEncoder(nn.Sequential):
    """A convolutional network from images to vectors, by gated convolutions or residual blocks.

    Parameters
    ----------
    event_shape : sequence of int
        Shape (C, H, W) of one image, any size.
    out_features : int
        Number of elements of one output.
    kind : {"gated_conv", "resnet"}, default "gated_conv"
        `GatedConv`, or `ResidualBlock`.
    channels : sequence of int, default (32, 32, 64)
        Feature maps of each level; a level ends by halving height and width, rounding up.
    blocks : int, default 1
        Layers, or residual blocks, of a level before the one that halves.

    Raises
    ------
    ValueError
        If the shape is not that of an image, a number is not positive, or `kind` is unknown.

    References
    ----------
    Tomczak and Welling, "VAE with a VampPrior" (2018), for gated convolutions in a VAE. Kingma et al.,
    "Improving variational inference with inverse autoregressive flow" (2016), for residual ones.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.conv_networks import ConvEncoder
    >>> ConvEncoder((3, 32, 32), 2 * 40)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 80])
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        out_features: int,
        *,
        kind: ConvKind = "gated_conv",
        channels: Sequence[int] = (32, 32, 64),
        blocks: int = 1,
    ) -> None:
        _require_image(event_shape, kind, channels, blocks, out_features)
        unit = GatedConv if kind == "gated_conv" else ResidualBlock
        layers: list[nn.Module] = []
        width = event_shape[0]
        if kind == "resnet":  # a block starts with an activation, which an image should not pass
            layers.append(nn.Conv2d(width, channels[0], 3, padding=1))
            width = channels[0]
        for count in channels:
            for _ in range(blocks):
                layers.append(unit(width, count))
                width = count
            layers.append(unit(width, count, stride=2))
        if kind == "resnet":
            layers.append(nn.ELU())
        height, breadth = _sizes(event_shape, len(channels))[-1]
        super().__init__(*layers, nn.Flatten(), nn.Linear(width * height * breadth, out_features))


class ConvDecoder(nn.Sequential):
    """A convolutional network from codes to images, the `ConvEncoder` in reverse.

    Parameters
    ----------
    in_features : int
        Number of elements of one code.
    event_shape : sequence of int
        Shape (C, H, W) of one image, any size; C is not used.
    out_channels : int
        Number of feature maps of the output: C for logits, 2 C for means and log variances.
    kind : {"gated_conv", "resnet"}, default "gated_conv"
        `GatedConv`, or `ResidualBlock`.
    channels : sequence of int, default (32, 32, 64)
        Feature maps of each level, from the image down to the code, as in the encoder.
    blocks : int, default 1
        Layers, or residual blocks, of a level behind the one that doubles.

    Raises
    ------
    ValueError
        If the shape is not that of an image, a number is not positive, or `kind` is unknown.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.conv_networks import ConvDecoder
    >>> ConvDecoder(40, (1, 28, 28), 1)(torch.zeros(2, 40)).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        in_features: int,
        event_shape: Sequence[int],
        out_channels: int,
        *,
        kind: ConvKind = "gated_conv",
        channels: Sequence[int] = (32, 32, 64),
        blocks: int = 1,
    ) -> None:
        _require_image(event_shape, kind, channels, blocks, min(in_features, out_channels))
        unit = GatedConv if kind == "gated_conv" else ResidualBlock
        sizes = _sizes(event_shape, len(channels))  # of the image first
        start = (channels[-1], *sizes[-1])
        layers: list[nn.Module] = [
            nn.Linear(in_features, torch.Size(start).numel()),
            nn.ELU(),
            nn.Unflatten(1, start),
        ]
        width = channels[-1]
        for level in reversed(range(len(channels))):
            layers.append(Upsample(width, sizes[level + 1], sizes[level], gated=kind == "gated_conv"))
            for _ in range(blocks):
                layers.append(unit(width, channels[max(level - 1, 0)]))
                width = channels[max(level - 1, 0)]
        if kind == "resnet":
            layers.append(nn.ELU())
        super().__init__(*layers, nn.Conv2d(width, out_channels, 3, padding=1))


def _sizes(event_shape: Sequence[int], levels: int) -> list[tuple[int, int]]:
    """Height and width of the image, and behind each level."""
    _, height, breadth = event_shape
    sizes = [(height, breadth)]
    for _ in range(levels):
        height, breadth = (height + 1) // 2, (breadth + 1) // 2
        sizes.append((height, breadth))
    return sizes


def _require_image(
    event_shape: Sequence[int], kind: str, channels: Sequence[int], blocks: int, features: int
) -> None:
    if kind not in get_args(ConvKind):
        raise ValueError(f"`kind` must be one of {get_args(ConvKind)}, got {kind!r}")
    if len(event_shape) != 3 or min(event_shape) < 1:
        raise ValueError(f"`event_shape` must be (channels, height, width), got {tuple(event_shape)}")
    if not channels or min(*channels, blocks, features) < 1:
        raise ValueError(
            "`channels`, `blocks` and numbers of features must be positive, got "
            f"{tuple(channels)}, {blocks} and {features}"
        )
