"""A user's own images: arrays, a folder of files, or a torch Dataset, made into three splits of uint8."""

from __future__ import annotations

import os
from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from infoplane_torch.image_data import ImageData

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
_HELD_OUT = 10  # one image of so many validates, and as many test, where the user made no such split


def from_arrays(
    train: ArrayLike | Tensor,
    valid: ArrayLike | Tensor | None = None,
    test: ArrayLike | Tensor | None = None,
    *,
    name: str = "arrays",
    train_labels: ArrayLike | Tensor | None = None,
    valid_labels: ArrayLike | Tensor | None = None,
    test_labels: ArrayLike | Tensor | None = None,
    seed: int = 0,
) -> ImageData:
    """Make a data set of arrays.

    Parameters
    ----------
    train : array
        Images of shape (n, height, width), (n, channels, height, width) or (n, height, width, channels) with
        one or three channels: integers in [0, 255], bool, or floats in [0, 1]. Images of two levels only, 0
        and 1 or 255, are binary.
    valid, test : array, optional
        Like `train`; without them, a tenth of its images each, drawn at random.
    name : str, default "arrays"
        What the data set is called in tables and file names.
    train_labels, valid_labels, test_labels : array of int, shape (n,), optional
        Classes.
    seed : int, default 0
        Of the random split.

    Returns
    -------
    ImageData
        Grey levels rounded to 256.

    Raises
    ------
    ValueError
        If an array has another shape, values outside of its range, or too few images to split; or classes are
        no integers.

    Examples
    --------
    >>> import numpy as np
    >>> from infoplane_torch.data import from_arrays
    >>> data = from_arrays(np.random.default_rng(0).random((50, 28, 28)))
    >>> data.shape, len(data.train), len(data.valid), len(data.test), data.binary
    ((1, 28, 28), 40, 5, 5, False)
    """
    images = {"train": _as_images(train, "train")}
    labels = {"train": _as_labels(train_labels, "train")}
    for split, array, label in (("valid", valid, valid_labels), ("test", test, test_labels)):
        if array is not None:
            images[split], labels[split] = _as_images(array, split), _as_labels(label, split)
    for split, label in labels.items():
        if label is not None and label.shape != images[split].shape[:1]:
            raise ValueError(
                f"`{split}_labels` must have shape ({len(images[split])},), one for each image, "
                f"got {tuple(label.shape)}"
            )
    missing = [split for split in ("valid", "test") if split not in images]
    part = len(images["train"]) // _HELD_OUT
    if missing and not part:
        raise ValueError(
            f"`train` must hold at least {_HELD_OUT} images to split off `{missing[0]}`, "
            f"got {len(images['train'])}"
        )
    order = torch.randperm(len(images["train"]), generator=torch.Generator().manual_seed(seed))
    for split in missing:
        chosen, order = order[:part], order[part:]
        images[split] = images["train"][chosen]
        labels[split] = None if labels["train"] is None else labels["train"][chosen]
    if missing:
        images["train"] = images["train"][order]
        labels["train"] = None if labels["train"] is None else labels["train"][order]
    binary = all(int(split.max()) <= 1 for split in images.values())
    if not binary and all(bool(torch.isin(split, torch.tensor([0, 255])).all()) for split in images.values()):
        images, binary = {split: array // 255 for split, array in images.items()}, True
    return ImageData(
        name,
        images["train"],
        images["valid"],
        images["test"],
        binary,
        labels["train"],
        labels["valid"],
        labels["test"],
    )


def from_folder(
    folder: str | os.PathLike[str], *, size: tuple[int, int] | None = None, grey: bool = False, seed: int = 0
) -> ImageData:
    """Make a data set of the image files in a folder.

    Parameters
    ----------
    folder : path
        Holds images in any depth, or subfolders ``train`` and perhaps ``valid`` and ``test`` that do.
    size : tuple of int, optional
        Height and width that each image is scaled to; without it, all must be of one size.
    grey : bool, default False
        Make colours grey. Files that are all grey stay so anyway.
    seed : int, default 0
        Of the random split, where there are no subfolders for it.

    Returns
    -------
    ImageData
        Called like the folder. If every image to train on lies in a subfolder, that subfolder is its class,
        numbered in alphabetical order; the other splits have the same numbers.

    Raises
    ------
    FileNotFoundError
        If there is no image.
    ValueError
        If the images have different sizes, a file is damaged, a split has a class that ``train`` has not, or
        an image can only be seen before another background.

    Notes
    -----
    All images are kept in memory, one byte a pixel and channel. What is transparent lies on white, as a
    browser shows it. Hidden files, like those that macOS leaves beside each image, are no images.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from PIL import Image
    >>> from infoplane_torch.data import from_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(20):
    ...         Image.fromarray(np.full((4, 6), i, np.uint8)).save(f"{folder}/{i}.png")
    ...     data = from_folder(folder)
    >>> data.shape, len(data.train)
    ((1, 4, 6), 16)
    """
    folder = Path(folder)
    splits = [split for split in ("train", "valid", "test") if (folder / split).is_dir()]
    if "train" not in splits:
        images, names = _read_folder(folder, size, grey)
        labels = None if names is None else _numbered(names, names, folder)
        return from_arrays(images, name=folder.name, train_labels=labels, seed=seed)
    read = {split: _read_folder(folder / split, size, grey) for split in splits}
    images, classes = read.pop("train")
    arrays: dict[str, Any] = {
        "train_labels": None if classes is None else _numbered(classes, classes, folder)
    }
    for split, (others, names) in read.items():
        arrays[split] = others
        if classes is not None and names is not None:
            arrays[f"{split}_labels"] = _numbered(names, classes, folder / split)
    return from_arrays(images, name=folder.name, seed=seed, **arrays)


def from_dataset(
    train: Dataset[Any],
    valid: Dataset[Any] | None = None,
    test: Dataset[Any] | None = None,
    *,
    name: str = "dataset",
    seed: int = 0,
) -> ImageData:
    """Make a data set of torch Datasets, read once and kept as uint8.

    Parameters
    ----------
    train : torch.utils.data.Dataset
        Its items are images, or begin with an image and its class: tensors, arrays or Pillow images, as
        `from_arrays` takes them.
    valid, test : torch.utils.data.Dataset, optional
        Like `train`; without them, a tenth of its images each, drawn at random.
    name : str, default "dataset"
        What the data set is called in tables and file names.
    seed : int, default 0
        Of the random split.

    Returns
    -------
    ImageData

    Raises
    ------
    ValueError
        As `from_arrays`.

    Notes
    -----
    Random transforms are drawn once, and not anew each epoch.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> from infoplane_torch.data import from_dataset
    >>> data = from_dataset(TensorDataset(torch.rand(20, 1, 8, 8), torch.arange(20) % 3))
    >>> data.shape, len(data.valid_labels)
    ((1, 8, 8), 2)
    """
    arrays: dict[str, Any] = {}
    for split, dataset in (("train", train), ("valid", valid), ("test", test)):
        if dataset is not None:
            arrays[split], arrays[f"{split}_labels"] = _read_dataset(dataset, split)
    return from_arrays(arrays.pop("train"), name=name, seed=seed, **arrays)


def _as_images(array: ArrayLike | Tensor, split: str) -> Tensor:
    """Turn an array into uint8 of shape (n, channels, height, width)."""
    images = array.cpu() if isinstance(array, Tensor) else torch.from_numpy(np.array(array))
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or not len(images) or {1, 3}.isdisjoint((images.shape[1], images.shape[-1])):
        raise ValueError(
            f"`{split}` must have shape (n, height, width), (n, 1 or 3, height, width) or "
            f"(n, height, width, 1 or 3) with n ≥ 1, got {tuple(images.shape)}"
        )
    if images.shape[1] not in (1, 3):
        images = images.movedim(-1, 1)
    real = images.is_floating_point()
    if not bool(((images >= 0) & (images <= (1 if real else 255))).all()):
        raise ValueError(
            f"`{split}` must be integers in [0, 255], bool, or floating point in [0, 1], "
            f"got {images.dtype} in [{images.min().item():g}, {images.max().item():g}]"
        )
    return ((255 * images).round() if real else images).to(torch.uint8).contiguous()


def _as_labels(labels: ArrayLike | Tensor | None, split: str) -> Tensor | None:
    if labels is None:
        return None
    values = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if values.dtype.kind not in "iub":
        raise ValueError(f"`{split}_labels` must be integers, got an array of {values.dtype}")
    return torch.from_numpy(values.astype(np.int64))


def _read_folder(
    folder: Path, size: tuple[int, int] | None, grey: bool
) -> tuple[NDArray[np.uint8], list[str] | None]:
    """The images of a folder and, if all lie in subfolders, the names of these, one for each image."""
    inner = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    paths = sorted(folder / path for path in inner if not any(part[0] == "." for part in path.parts))
    if not paths:
        raise FileNotFoundError(f"no images ({', '.join(_SUFFIXES)}) in {folder}")
    images = [_read_image(path, size) for path in paths]
    if grey or all(image.ndim == 2 for image in images):
        images = [
            image if image.ndim == 2 else np.asarray(Image.fromarray(image).convert("L")) for image in images
        ]
    else:
        images = [image if image.ndim == 3 else np.stack((image,) * 3, axis=-1) for image in images]
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise ValueError(
                f"all images must have one size unless `size` is given, "
                f"got {images[0].shape[:2]} in {paths[0]} and {image.shape[:2]} in {path}"
            )
    if any(path.parent == folder for path in paths):
        return np.stack(images), None
    return np.stack(images), [path.relative_to(folder).parts[0] for path in paths]


def _numbered(names: list[str], classes: list[str], folder: Path) -> NDArray[np.int64]:
    """The number of each name among the classes to train on, so that a class has one number in all splits."""
    number = {name: i for i, name in enumerate(sorted(set(classes)))}
    if unknown := sorted(set(names) - set(number)):
        raise ValueError(f"{folder} must have classes of `train`, {sorted(number)}, got {unknown} too")
    return np.array([number[name] for name in names])


def _read_image(path: Path, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Read an image as (height, width) if it is grey, else as (height, width, 3)."""
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":
                raise ValueError(f"{path} must have 8 bits a channel, got mode {image.mode!r}")
            grey = image.mode in ("1", "L", "LA", "La")
            palette = image.mode in ("P", "PA")
            opaque = image.mode[-1] not in "Aa" and "transparency" not in image.info
            converted = image.convert("RGB") if opaque else _on_white(image, path)
    except OSError as error:
        raise ValueError(f"{path} is not a complete image: {error}") from error
    if grey or (palette and not np.ptp(np.asarray(converted), axis=-1).any()):
        converted = converted.convert("L")
    if size is not None:
        converted = converted.resize(size[::-1], Image.Resampling.BOX)
    return np.asarray(converted)


def _on_white(image: Image.Image, path: Path) -> Image.Image:
    """What is seen of an image with transparent parts, which may have all of its drawing in them."""
    layer = image.convert("RGBA")
    seen = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer).convert("RGB")
    alpha = np.asarray(layer)[..., 3]
    if alpha.any() and np.ptp(alpha) and np.asarray(seen).min() == 255:
        raise ValueError(
            f"{path} is white on transparent, and on white nothing is seen: make it opaque first"
        )
    return seen


def _read_dataset(dataset: Dataset[Any], split: str) -> tuple[Tensor, Tensor | None]:
    if not isinstance(dataset, Sized):
        raise ValueError(f"`{split}` must have a length, got {type(dataset).__name__}")
    images, labels = [], []
    for i in range(len(dataset)):
        item = dataset[i]
        image, *rest = item if isinstance(item, tuple | list) else (item,)
        images.append(_item_image(image, split))
        labels.append(_item_class(rest[0], split) if rest else None)
    if not images or len({image.shape for image in images}) > 1:
        sizes = sorted({tuple(image.shape) for image in images})
        raise ValueError(f"`{split}` must hold images of one shape, got {sizes}")
    known = [label for label in labels if label is not None]
    return torch.stack(images), torch.tensor(known) if len(known) == len(images) else None


def _item_image(image: Any, split: str) -> Tensor:
    if isinstance(image, Tensor):
        return image
    array = np.array(image)
    if array.dtype.kind not in "iubf":
        raise ValueError(
            f"items of `{split}` must be images, or tuples that begin with an image and its class, got a "
            f"{type(image).__name__}"
        )
    return torch.from_numpy(array)


def _item_class(label: Any, split: str) -> int | None:
    if label is None:
        return None
    value = label.cpu().numpy() if isinstance(label, Tensor) else np.asarray(label)
    if value.size != 1 or value.dtype.kind not in "iub":
        found = f"a {type(label).__name__}" + (f" of shape {value.shape}" if value.ndim else f", {label!r}")
        raise ValueError(f"items of `{split}` must have an integer as class beside their image, got {found}")
    return int(value.item())
