"""Images in three splits, kept as uint8 on whatever device; shuffled, binarised batches drawn there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_EVALUATION_SEED = 20_190_127  # any fixed number: every user evaluates on the same binary images
_Drawn = Callable[[Tensor, torch.Generator], Tensor]
_BLOCK_PIXELS = 1 << 22  # gathered and binarised at a time: few kernels to launch, little memory


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images in three splits, as uint8 tensors of shape (n, channels, height, width).

    Parameters
    ----------
    name : str
        What the data set is called in tables and file names.
    train, valid, test : Tensor of uint8, shape (n, channels, height, width)
        Pixels 0 or 1 if `binary`, else grey levels 0 to 255.
    binary : bool
        Whether the pixels are 0 or 1 for good ("static binarisation").
    train_labels, valid_labels, test_labels : Tensor of int64, shape (n,), optional
        Classes, where the data set has them.

    Examples
    --------
    >>> from infoplane_torch.data import load
    >>> digits = load("digits")
    >>> digits.shape, len(digits.train), len(digits.valid), len(digits.test)
    ((1, 8, 8), 1197, 300, 300)
    """

    name: str
    train: Tensor
    valid: Tensor
    test: Tensor
    binary: bool
    train_labels: Tensor | None = None
    valid_labels: Tensor | None = None
    test_labels: Tensor | None = None

    def __post_init__(self) -> None:
        for split in ("train", "valid", "test"):
            images = getattr(self, split)
            if images.dtype != torch.uint8 or images.ndim != 4 or not len(images):
                raise ValueError(
                    f"`{split}` must be a non-empty uint8 tensor of shape (n, channels, height, width), "
                    f"got {images.dtype} of shape {tuple(images.shape)}"
                )
            if images.shape[1:] != self.train.shape[1:]:
                raise ValueError(
                    f"`{split}` must have images of shape {self.shape} like `train`, "
                    f"got {tuple(images.shape[1:])}"
                )
            if self.binary and int(images.max()) > 1:
                raise ValueError(f"`{split}` must hold only 0 and 1 if `binary`, got {int(images.max())}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image: (channels, height, width)."""
        return tuple(self.train.shape[1:])

    @property
    def binarization(self) -> str:
        """How the images become binary, "static" or "dynamic": likelihoods of the two are not comparable."""
        return "static" if self.binary else "dynamic"

    def pixels(self, *, binarize: bool = True, dequantize: bool = False) -> str:
        """Say what a model sees of the images: "static binarisation", "dequantised grey levels" or the like.

        Parameters
        ----------
        binarize, dequantize : bool, default True and False
            Those of `evaluation_images`.

        Examples
        --------
        >>> from infoplane_torch.data import load
        >>> load("digits").pixels()
        'dynamic binarisation'
        """
        if self.binary or binarize:
            return f"{self.binarization} binarisation"
        return "dequantised grey levels" if dequantize else "grey levels"

    def evaluation_images(self, split: str, *, binarize: bool = True, dequantize: bool = False) -> Tensor:
        """Return the images of one split as floats, always the same ones.

        Parameters
        ----------
        split : {"train", "valid", "test"}
            Which images.
        binarize : bool, default True
            Draw each pixel of grey images once as Bernoulli(grey level), with a fixed seed; if False, return
            the grey levels in [0, 1].
        dequantize : bool, default False
            Add uniform noise of one grey level to those, once, with a fixed seed: (k + u)/256.

        Returns
        -------
        Tensor of float32, shape (n, channels, height, width)

        Raises
        ------
        ValueError
            If `split` is not one of the three, or there are no grey levels to dequantise.

        Examples
        --------
        >>> from infoplane_torch.data import load
        >>> load("digits").evaluation_images("test").unique()
        tensor([0., 1.])
        """
        if split not in ("train", "valid", "test"):
            raise ValueError(f'`split` must be "train", "valid" or "test", got {split!r}')
        images = getattr(self, split).cpu()
        drawn = _drawing(binary=self.binary, binarize=binarize, dequantize=dequantize)
        if drawn is not None:
            images = drawn(images, torch.Generator().manual_seed(_EVALUATION_SEED))
        return _as_float(images, binary=self.binary or binarize)


def batches(
    images: Tensor,
    batch_size: int,
    *,
    seed: int | Sequence[int],
    epoch: int,
    binary: bool,
    binarize: bool = True,
    dequantize: bool = False,
    share: tuple[int, int] = (0, 1),
) -> Iterator[Tensor]:
    """Yield one epoch of shuffled float batches, drawn on the device that the images are on.

    Order and pixels are a function of (`seed`, `epoch`) and the kind of device alone, so an epoch can be
    repeated exactly and a resumed run needs no saved state of a random number generator.

    Parameters
    ----------
    images : Tensor of uint8, shape (n, ...)
        Pixels 0 or 1 if `binary`, else 0 to 255.
    batch_size : int
        Images a batch, over all processes; the last batch may be smaller.
    seed : int or sequence of int
        At least 0. With several, a batch holds one for each, beside each other: the same as by itself. Equal
        seeds share the reading.
    epoch : int
        What the randomness depends on beside the seed; at least 0.
    binary : bool
        Whether the pixels are 0 or 1 already.
    binarize : bool, default True
        Draw the pixels of grey images as Bernoulli(grey level), anew each epoch ("dynamic binarisation");
        if False, yield grey levels in [0, 1].
    dequantize : bool, default False
        Add uniform noise of one grey level to those, anew each epoch, (k + u)/256: for a density.
    share : tuple of int, default (0, 1)
        Number of this process, and how many there are: each gets its equal part of each batch, the same
        images with the same pixels as a single process would. Of the last batch, as many are left out as
        cannot be divided.

    Yields
    ------
    Tensor of float32, shape (batch, ...), or (seeds, batch, ...) of several seeds

    Raises
    ------
    ValueError
        If `batch_size` is below 1, or cannot be divided among the processes; or there are no grey levels to
        dequantise.

    Examples
    --------
    >>> from infoplane_torch.data import batches, load
    >>> digits = load("digits")
    >>> [len(x) for x in batches(digits.train, 500, seed=0, epoch=1, binary=digits.binary)]
    [500, 500, 197]
    """
    process, processes = share
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}")
    if batch_size % processes:
        raise ValueError(f"`batch_size` must be a multiple of the {processes} processes, got {batch_size}")
    several = isinstance(seed, Sequence)
    seeds = tuple(seed) if isinstance(seed, Sequence) else (seed,)
    distinct = tuple(dict.fromkeys(seeds))
    places = [distinct.index(one) for one in seeds]
    along = 1 if several else 0  # the dimension of the images
    drawn = _drawing(binary=binary, binarize=binarize, dequantize=dequantize)
    streams = [
        _blocks(images, batch_size, seed=one, epoch=epoch, drawn=drawn, processes=processes)
        for one in distinct
    ]
    for blocks in zip(*streams, strict=True):
        block = torch.stack([blocks[place] for place in places]) if several else blocks[0]
        for batch in block.split(batch_size, dim=along):
            yield _as_float(batch.chunk(processes, dim=along)[process], binary=binary or binarize)


def _blocks(
    images: Tensor, batch_size: int, *, seed: int, epoch: int, drawn: _Drawn | None, processes: int
) -> Iterator[Tensor]:
    """The images of an epoch in their order, some batches at a time, their pixels drawn where they are."""
    generator = torch.Generator(images.device).manual_seed(epoch_seed(seed, epoch, stream=0))
    order = torch.randperm(len(images), generator=generator, device=images.device)
    order = order[: len(images) - len(images) % processes]
    batches_a_block = max(1, _BLOCK_PIXELS // (batch_size * images[0].numel()))
    for indices in order.split(batches_a_block * batch_size):
        block = images[indices]
        yield block if drawn is None else drawn(block, generator)


def epoch_seed(seed: int, epoch: int, *, stream: int) -> int:
    """Mix (`seed`, `epoch`, `stream`) into one seed, so that neighbouring numbers give unrelated randomness.

    Parameters
    ----------
    seed, epoch : int
        At least 0.
    stream : int
        Number of the use: 0 for the batches, 1 for the noise of the model.

    Returns
    -------
    int
        A seed for `torch.Generator.manual_seed`.

    Examples
    --------
    >>> from infoplane_torch.data import epoch_seed
    >>> epoch_seed(0, 1, stream=0) != epoch_seed(1, 0, stream=0)
    True
    """
    return int(np.random.SeedSequence((seed, epoch, stream)).generate_state(1, np.uint64)[0])


def _drawing(*, binary: bool, binarize: bool, dequantize: bool) -> _Drawn | None:
    """How the pixels of images are drawn, if at all."""
    if dequantize and (binary or binarize):
        found = "binary images" if binary else "`binarize` = True"
        raise ValueError(f"`dequantize` must have grey levels, got {found}")
    if dequantize:
        return _dequantized
    return _binarized if binarize and not binary else None


def _binarized(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.bernoulli(images.float() / 255, generator=generator).to(torch.uint8)


def _dequantized(images: Tensor, generator: torch.Generator) -> Tensor:
    # In 65,536 steps: with more, float32 would round some pixels up into the next level.
    noise = torch.randint(1 << 16, images.shape, generator=generator, device=images.device)
    return (images + noise.float() / (1 << 16)) / 256


def _as_float(images: Tensor, *, binary: bool) -> Tensor:
    if images.is_floating_point():
        return images
    return images.float() if binary else images.float() / 255
