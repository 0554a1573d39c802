"""The gated PixelCNN: images as a product of each pixel given those above and to the left, and a code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional

from infoplane_torch.networks import at_least_float32

# Images that one pass holds where no gradient is wanted: memory must not grow with the importance samples.
_IMAGES_AT_ONCE = 256


class GatedLayer(nn.Module):
    """One layer of a gated PixelCNN: a vertical stack of what is above, a horizontal one of what is left.

    Parameters
    ----------
    in_channels, channels : int
        Feature maps that come in and go out; where they are as many, the horizontal stack has a shortcut.
    kernel_size : int
        Odd. The vertical stack sees a rectangle of ⌈kernel_size/2⌉ rows that ends with its own, and
        ``kernel_size`` columns; the horizontal one ⌈kernel_size/2⌉ pixels that end with its own.
    context_channels : int
        Feature maps of the context.

    Notes
    -----
    Nothing is masked. The stacks of the first layer start from images that are shifted down by a row and to
    the right by a column (`GatedPixelCNN`), and each later layer may then see its own place. As the vertical
    stack widens by the same angle on either side, there is no blind spot. The context enters the
    vertical stack ahead of the gate, and by way of it the horizontal one.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.pixel_cnn import GatedLayer
    >>> x = torch.zeros(2, 8, 5, 5)
    >>> vertical, horizontal = GatedLayer(8, 8, 3, 4)(x, x, torch.zeros(2, 4, 5, 5))
    >>> vertical.shape == horizontal.shape == x.shape
    True
    """

    def __init__(self, in_channels: int, channels: int, kernel_size: int, context_channels: int) -> None:
        super().__init__()
        self.side = kernel_size // 2
        self.shortcut = in_channels == channels
        self.above = nn.Conv2d(in_channels, 2 * channels, (self.side + 1, kernel_size))
        self.left = nn.Conv2d(in_channels, 2 * channels, (1, self.side + 1), bias=False)
        self.context = nn.Conv2d(context_channels, 2 * channels, 1, bias=False)
        self.across = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, vertical: Tensor, horizontal: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the layer to whole images.

        Parameters
        ----------
        vertical, horizontal : Tensor of shape (B, in_channels, H, W)
            The two stacks.
        context : Tensor of shape (B, context_channels, H, W)
            The context.

        Returns
        -------
        vertical, horizontal : Tensor of shape (B, channels, H, W)
        """
        window = functional.pad(vertical, (self.side, self.side, self.side, 0))
        above = self.above(window) + self.context(context)
        left = self.left(functional.pad(horizontal, (self.side, 0, 0, 0)))
        moved = self.out(gate(left + self.across(above)))
        return gate(above), horizontal + moved if self.shortcut else moved


class GatedPixelCNN(nn.Module):
    """Network of a gated PixelCNN: outputs for each pixel that see the pixels before it, and a context.

    Parameters
    ----------
    event_shape : sequence of int
        Shape (C, H, W) of one image.
    outputs : int
        Numbers that it gives for each pixel.
    context_channels : int
        Feature maps of the context.
    channels : int, default 32
        Feature maps of a stack.
    layers : int, default 5
        Number of layers, at least 1.
    kernel_size : int, default 5
        Odd size of the kernels of all layers but the first, whose kernels are larger by 2.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    Pixels follow each other in rows from the top. One sees 2 + layers·(kernel_size//2) rows above it and as
    many columns to its left; in the rows above, one column less to its right. The channels of a pixel do not
    see one another: what ties them together is the distribution that its outputs describe. Another channel
    of ones tells black pixels from those beyond the border. The context is brought to mean 0 and variance 1
    in each image (Ba, Kiros and Hinton 2016), whatever its network gives: large ones would saturate every
    gate, and training would stand still from then on.

    References
    ----------
    Van den Oord et al., "Conditional image generation with PixelCNN decoders" (2016), figure 2.

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.pixel_cnn import GatedPixelCNN
    >>> network = GatedPixelCNN((1, 8, 8), 1, 4, channels=8, layers=2, kernel_size=3)
    >>> network(torch.zeros(5, 1, 8, 8), torch.zeros(5, 4, 8, 8)).shape
    torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        outputs: int,
        context_channels: int,
        *,
        channels: int = 32,
        layers: int = 5,
        kernel_size: int = 5,
    ) -> None:
        super().__init__()
        if len(event_shape) != 3 or min(event_shape) < 1:
            raise ValueError(f"`event_shape` must be (channels, height, width), got {tuple(event_shape)}")
        if min(outputs, context_channels, channels, layers) < 1:
            raise ValueError(
                "`outputs`, `context_channels`, `channels` and `layers` must be at least 1, got "
                f"{outputs}, {context_channels}, {channels} and {layers}"
            )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd and positive, got {kernel_size}")
        self.event_shape = Size(event_shape)
        self.outputs = outputs
        self.context_channels = context_channels
        self.normalized = nn.GroupNorm(1, context_channels)
        self.layers = nn.ModuleList(
            [
                GatedLayer(event_shape[0] + 1, channels, kernel_size + 2, context_channels),
                *(GatedLayer(channels, channels, kernel_size, context_channels) for _ in range(1, layers)),
            ]
        )
        self.head = nn.Sequential(
            nn.ELU(), nn.Conv2d(channels, channels, 1), nn.ELU(), nn.Conv2d(channels, outputs, 1)
        )

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Give the outputs of all pixels of known images in one pass.

        Parameters
        ----------
        x : Tensor of shape (B, C, H, W)
            Images between 0 and 1.
        context : Tensor of shape (B, context_channels, H, W)
            The context.

        Returns
        -------
        Tensor of shape (B, outputs, H, W)
            At least float32.
        """
        pixels, context = _embed(x), self.normalized(context)
        vertical = functional.pad(pixels, (0, 0, 1, 0))[:, :, :-1]
        horizontal = functional.pad(pixels, (1, 0, 0, 0))[..., :-1]
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal, context)
        return at_least_float32(self.head(horizontal))

    @torch.no_grad()
    def sample(self, context: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Draw images pixel by pixel, computing nothing twice.

        Parameters
        ----------
        context : Tensor of shape (B, context_channels, H, W)
            The context.
        draw : callable
            Turns the outputs of one pixel, (B, outputs, 1, 1), into the pixel, (B, C, 1, 1).

        Returns
        -------
        Tensor of shape (B, C, H, W)

        Notes
        -----
        The vertical stack is computed a row at a time from the last rows of the layer below, the horizontal
        one a pixel at a time: all images cost about as much arithmetic as one pass, instead of H·W passes.
        """
        channels, height, width = self.event_shape
        context = self.normalized(context)
        image = context.new_zeros(len(context), channels, height, width)
        caches = [_LayerCache(layer, len(context), width, context) for layer in self.layers]
        beyond = context.new_zeros(len(context), channels + 1, 1, width)
        for row in range(height):
            vertical = _embed(image[:, :, row - 1 : row]) if row else beyond
            for cache in caches:
                vertical = cache.next_row(vertical, context[:, :, row : row + 1])
            for column in range(width):
                horizontal = (
                    _embed(image[:, :, row : row + 1, column - 1 : column]) if column else beyond[..., :1]
                )[..., 0, 0]
                for cache in caches:
                    horizontal = cache.next_pixel(horizontal, column)
                outputs = at_least_float32(self.head(horizontal[..., None, None]))
                image[:, :, row, column] = draw(outputs)[..., 0, 0]
        return image


class _LayerCache:
    """What a layer remembers while images are drawn: its last rows, and the pixels of this row."""

    def __init__(self, layer: nn.Module, count: int, width: int, like: Tensor) -> None:
        assert isinstance(layer, GatedLayer)
        self.layer, self.side = layer, layer.side
        self.rows = like.new_zeros(count, layer.above.in_channels, self.side + 1, width + 2 * self.side)
        # A window of pixels is then one stretch of memory: (B, width, in_channels) flattened.
        self.features = layer.left.in_channels
        self.pixels = like.new_zeros(count, (width + self.side) * self.features)
        self.left = layer.left.weight[:, :, 0].transpose(1, 2).flatten(1).T  # (window, 2 channels)
        self.out = layer.out.weight[:, :, 0, 0]
        self.across = like.new_zeros(0)

    def next_row(self, vertical: Tensor, context: Tensor) -> Tensor:
        """Take in a row of the vertical stack, (B, in_channels, 1, W), and give that of the next layer."""
        self.rows = torch.cat((self.rows[:, :, 1:], functional.pad(vertical, (self.side, self.side))), dim=2)
        above = self.layer.above(self.rows) + self.layer.context(context)
        self.across = self.layer.across(above)[:, :, 0].movedim(-1, 0).contiguous()  # (W, B, 2 channels)
        self.pixels[:, self.side * self.features :].zero_()
        return gate(above)

    def next_pixel(self, horizontal: Tensor, column: int) -> Tensor:
        """Take in a pixel of the horizontal stack, (B, in_channels), and give that of the next layer."""
        start, own = column * self.features, (column + self.side) * self.features
        self.pixels[:, own : own + self.features] = horizontal
        window = self.pixels[:, start : own + self.features]
        gated = gate(torch.addmm(self.across[column], window, self.left))
        moved = functional.linear(gated, self.out, self.layer.out.bias)
        return horizontal + moved if self.layer.shortcut else moved


class PixelByPixel(Distribution):
    """p(x|z) = Π_i p(x_i | x_1, …, x_(i−1), z) of images, by a `GatedPixelCNN`; pixels in rows from the top.

    Parameters
    ----------
    network : GatedPixelCNN
        Gives the parameters of each pixel.
    pixels : callable
        Turns parameters (..., outputs, H, W) into the distribution of independent pixels, of event shape
        (C, H, W).
    decoder : nn.Module
        Maps codes ``(B, latent_dim)`` to contexts ``(B, context_channels, H, W)``, perhaps flattened.
    z : Tensor of shape (..., latent_dim)
        Codes.

    Notes
    -----
    ``log_prob`` is one pass with all pixels given, ``sample`` goes one by one (`GatedPixelCNN.sample`). Both
    decode the codes themselves, under the autocast state in which the distribution was made; without
    gradients they take 256 images at a time, so that memory does not grow with the number of codes. There is
    no reparameterised draw, and no closed form of E[x|z]: `mean` raises ``NotImplementedError``.

    References
    ----------
    Gulrajani et al., "PixelVAE" (2017), section 3.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Bernoulli, Independent
    >>> from infoplane_torch.networks import MLP
    >>> from infoplane_torch.pixel_cnn import GatedPixelCNN, PixelByPixel
    >>> network = GatedPixelCNN((1, 8, 8), 1, 4, channels=8, layers=2, kernel_size=3)
    >>> def pixels(logits): return Independent(Bernoulli(logits=logits), 3)
    >>> images = PixelByPixel(network, pixels, MLP(2, 4 * 64), torch.zeros(5, 2))
    >>> images.sample((3,)).shape, images.log_prob(torch.zeros(1, 8, 8)).shape
    (torch.Size([3, 5, 1, 8, 8]), torch.Size([5]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False

    def __init__(
        self,
        network: GatedPixelCNN,
        pixels: Callable[[Tensor], Distribution],
        decoder: nn.Module,
        z: Tensor,
    ) -> None:
        self.network, self.pixels, self.decoder, self.z = network, pixels, decoder, z
        device = z.device.type
        self._autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        super().__init__(z.shape[:-1], network.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint | None:
        """That of the pixels."""
        return self.pixels(self.z.new_zeros(self.network.outputs, 1, 1)).support

    @property
    def mean(self) -> Tensor:
        """Not known."""
        raise NotImplementedError("a PixelCNN has no closed form of E[x|z]: average samples instead")

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of images, in nats.

        Parameters
        ----------
        value : Tensor of shape (..., C, H, W)
            Images, broadcast against the batch.

        Returns
        -------
        Tensor of shape (...)
        """
        batch = torch.broadcast_shapes(value.shape[:-3], self.batch_shape)
        x = value.expand(*batch, *self.event_shape).reshape(-1, *self.event_shape)
        z = self.z.expand(*batch, -1).reshape(-1, self.z.shape[-1])
        at_once = max(len(z), 1) if torch.is_grad_enabled() else _IMAGES_AT_ONCE
        parts = [
            self._log_prob(some_x, some_z)
            for some_x, some_z in zip(x.split(at_once), z.split(at_once), strict=True)
        ]
        return torch.cat(parts).reshape(batch)

    def _log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        with self._precision():
            outputs = self.network(x, self._context(z))
        return self.pixels(outputs).log_prob(x)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw images, pixel by pixel.

        Parameters
        ----------
        sample_shape : sequence of int, default ()
            How many.

        Returns
        -------
        Tensor of shape (*sample_shape, *batch_shape, C, H, W)
        """
        batch = Size(sample_shape) + self.batch_shape
        z = self.z.expand(*batch, -1).reshape(-1, self.z.shape[-1])
        images = []
        for some in z.split(_IMAGES_AT_ONCE):
            with self._precision():
                context = at_least_float32(self._context(some))
            with torch.autocast(z.device.type, enabled=False):
                images.append(self.network.sample(context, lambda outputs: self.pixels(outputs).sample()))
        return torch.cat(images).reshape(*batch, *self.event_shape)

    def _precision(self) -> torch.autocast:
        enabled, dtype = self._autocast
        return torch.autocast(self.z.device.type, dtype=dtype, enabled=enabled)

    def _context(self, z: Tensor) -> Tensor:
        _, height, width = self.event_shape
        return self.decoder(z).reshape(-1, self.network.context_channels, height, width)


def gate(features: Tensor) -> Tensor:
    """The gated activation tanh(a) ⊙ sigmoid(b) of feature maps a, b, the two halves of dimension 1.

    Parameters
    ----------
    features : Tensor of shape (B, 2 c, ...)
        a, then b.

    Returns
    -------
    Tensor of shape (B, c, ...)

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch.pixel_cnn import gate
    >>> gate(torch.tensor([[torch.inf, 0.0]]))
    tensor([[0.5000]])
    """
    a, b = features.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()


def _embed(x: Tensor) -> Tensor:
    """Images between −1 and 1, and a channel of ones."""
    return torch.cat((2 * x - 1, torch.ones_like(x[:, :1])), dim=1)
