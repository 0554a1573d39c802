"""Image data sets by name: digits, MNIST, its binarisations, Fashion-MNIST, Omniglot, SVHN; and one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from infoplane_torch.data_files import (
    DATA_VARIABLE,
    MIRROR_VARIABLE,
    DataFiles,
    read_amat,
    read_idx,
    read_mat,
    read_npz,
)
from infoplane_torch.image_data import ImageData, batches, epoch_seed
from infoplane_torch.own_images import from_arrays, from_dataset, from_folder

__all__ = [
    "DATA_VARIABLE", "MIRROR_VARIABLE", "ImageData", "batches", "epoch_seed", "from_arrays", "from_dataset",
    "from_folder", "load", "own_source",
]  # fmt: skip

_OMNIGLOT = "https://github.com/yburda/iwae/tree/master/datasets/OMNIGLOT"
_SVHN_VALID = 20_000
_OMNIGLOT_VALID = 1_345


def load(name: str, root: str | os.PathLike[str] | None = None, *, mirror: str | None = None) -> ImageData:
    """Load a data set by its name, or one's own images by the path of their folder.

    Parameters
    ----------
    name : str or path
        One of the names in the notes; or a folder of images (`from_folder`); or an ``.npz`` file with the
        array ``train`` and perhaps ``valid``, ``test`` and ``train_labels`` … (`from_arrays`).
    root : path, optional
        Folder that holds the files of a named set, itself or in a subfolder called like it. Without it, the
        folder named by the environment variable ``INFOPLANE_DATA``; without that, the files are downloaded
        once into the user's cache and held against their published checksums. Of one's own images, where
        they are instead: see `own_source`.
    mirror : str, optional
        URL of a folder to download the original files from, instead of their home; also the environment
        variable ``INFOPLANE_MIRROR``.

    Returns
    -------
    ImageData

    Raises
    ------
    ValueError
        If the name is unknown, or a file is damaged or not what its name says.
    FileNotFoundError
        If the files are not in the named folder, or cannot be downloaded; the message says what to do. Or if
        there is no such file or folder of one's own.

    Notes
    -----
    =================== ============== ========================= ======================================
    name                image          train / valid / test      files
    =================== ============== ========================= ======================================
    ``digits``          8 × 8 grey     1,197 / 300 / 300         scikit-learn's, no download
    ``mnist``           28 × 28 grey   50,000 / 10,000 / 10,000  ``train-images-idx3-ubyte.gz`` …, or unpacked
    ``binarized_mnist`` 28 × 28 binary 50,000 / 10,000 / 10,000  ``binarized_mnist_train.amat`` …, or ``.npz``
                                                                 of bits packed by `numpy.packbits` [1]_
    ``fashion_mnist``   28 × 28 grey   50,000 / 10,000 / 10,000  like ``mnist``, in a folder of its own [2]_
    ``omniglot``        28 × 28 grey   23,000 / 1,345 / 8,070    ``chardata.mat``, no download [3]_
    ``svhn``            32 × 32 colour 73,257 / 20,000 / 26,032  ``train_32x32.mat`` … [4]_
    =================== ============== ========================= ======================================

    Digits are split with equal shares of each class; of the two MNISTs the last 10,000 training images
    validate, of Omniglot 1,345 drawn at random, of SVHN 20,000 drawn at random from its "extra" images. In
    place of the last two, the folder may hold ``omniglot_small.npz`` (8 alphabets, split by drawer) or
    ``svhn_head.npz`` (the first thousand images, split by photo): for trying out, no figures compare.

    Grey images are binarised anew each epoch ("dynamic binarisation"). Static and dynamic differ by about
    2 nats of likelihood on MNIST: always say which. The test split of `binarized_mnist` is sorted by class
    and the set has no labels: shuffle before taking a part of it.

    References
    ----------
    .. [1] H. Larochelle, I. Murray, "The neural autoregressive distribution estimator", AISTATS 2011.
    .. [2] H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST" (2017).
    .. [3] B. M. Lake et al., Science 350 (2015), as reduced by Y. Burda, R. Grosse, R. Salakhutdinov,
       "Importance weighted autoencoders", ICLR 2016.
    .. [4] Y. Netzer et al., "Reading digits in natural images with unsupervised feature learning" (2011).

    Examples
    --------
    >>> from infoplane_torch.data import load
    >>> digits = load("digits")
    >>> digits.train.dtype, digits.binarization
    (torch.uint8, 'dynamic')
    """
    if name == "digits":
        return _digits()
    if name in _READERS:
        return _READERS[name](DataFiles.of(name, root, mirror))
    path = own_source(name, root)
    assert path is not None  # as the name is none of those above
    return from_folder(path) if path.is_dir() else _own_arrays(path)


def own_source(name: str, root: str | os.PathLike[str] | None = None) -> Path | None:
    """Find the folder, or the ``.npz`` file, of one's own images.

    Parameters
    ----------
    name : str
        Its path, or the name of a data set.
    root : path, optional
        Where it is instead: the folder or file itself, or a folder that holds it, by its path or its last
        name. So images that have been moved are found.

    Returns
    -------
    Path or None
        Its absolute path; None if `name` is the name of a data set.

    Raises
    ------
    FileNotFoundError
        If there is nothing, and `name` looks like a path.
    ValueError
        If there is nothing, and `name` looks like the name of a data set; or the file is none of arrays.

    Examples
    --------
    >>> from infoplane_torch.data import own_source
    >>> own_source("digits")
    >>> own_source("pictures/cats")
    Traceback (most recent call last):
        ...
    FileNotFoundError: no such file or folder: pictures/cats
    """
    if name == "digits" or name in _READERS:
        return None
    path, archive = Path(name), Path(name).suffix == ".npz"
    places = [path] if root is None else [Path(root) / path.relative_to(path.anchor), Path(root) / path.name]
    if root is not None and (archive or not places[1].exists()):
        places.append(Path(root))
    for place in places:
        if place.is_dir() and not archive:
            return Path(os.path.abspath(place))
        if place.is_file():
            if place.suffix != ".npz":
                raise ValueError(f"{place} must be a folder of images or an .npz file")
            return Path(os.path.abspath(place))
    if root is not None or path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"no such file or folder: {' or '.join(map(str, places))}")
    names = ", ".join(f'"{known}"' for known in ("digits", *_READERS))
    raise ValueError(f"`name` must be {names}, a folder of images or an .npz file, got {name!r}")


def _own_arrays(path: Path) -> ImageData:
    """What an ``.npz`` file holds."""
    arrays: dict[str, Any] = {**read_npz(path)}
    splits = ("train", "valid", "test")
    known = (*splits, *(f"{split}_labels" for split in splits))
    if "train" not in arrays:
        raise ValueError(f"{path} must hold an array `train`, got {sorted(arrays)}")
    if unknown := sorted(set(arrays) - set(known)):
        raise ValueError(f"{path} must hold no arrays but {', '.join(known)}, got {unknown} too")
    try:
        return from_arrays(arrays.pop("train"), name=path.stem, **arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _digits() -> ImageData:
    from sklearn.datasets import load_digits  # here, because scikit-learn takes a second

    pixels, labels = load_digits(return_X_y=True)
    order = _stratified_order(labels)
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)[order]
    test, valid, train = slice(0, 300), slice(300, 600), slice(600, None)
    return _image_data("digits", *((images[part], labels[order][part]) for part in (train, valid, test)))


def _stratified_order(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a fixed random order in which every stretch holds each class in about its share."""
    generator = np.random.default_rng(0)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[generator.permutation(members)] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(place)


def _mnist(files: DataFiles) -> ImageData:
    def read(stem: str) -> NDArray[np.uint8]:
        return read_idx(files.fetch(f"{stem}.gz", stem, stem.replace("-idx", ".idx")))

    images, labels = read("train-images-idx3-ubyte"), read("train-labels-idx1-ubyte")
    test, test_labels = read("t10k-images-idx3-ubyte"), read("t10k-labels-idx1-ubyte")
    if len(images) != len(labels) or len(test) != len(test_labels):
        raise ValueError(
            f"the files of {files.name} must hold one label an image, got {len(labels)} and "
            f"{len(test_labels)} labels for {len(images)} and {len(test)} images"
        )
    images, test = images[:, None], test[:, None]
    cut = len(images) - len(images) // 6  # 50,000 of 60,000
    return _image_data(
        files.name, (images[:cut], labels[:cut]), (images[cut:], labels[cut:]), (test, test_labels)
    )


def _binarized_mnist(files: DataFiles) -> ImageData:
    packed = files.find("binarized_mnist.npz")
    splits = ("train", "valid", "test")
    if packed is not None:
        with np.load(packed) as archive:
            rows = [np.unpackbits(archive[split], axis=1) for split in splits]
    else:
        rows = [read_amat(files.fetch(f"binarized_mnist_{split}.amat")) for split in splits]
    train, valid, test = (torch.from_numpy(split).reshape(-1, 1, 28, 28) for split in rows)
    return ImageData("binarized_mnist", train, valid, test, binary=True)


def _omniglot(files: DataFiles) -> ImageData:
    small = files.find("omniglot_small.npz") if files.find("chardata.mat") is None else None
    if small is not None:
        with np.load(small) as archive:
            images, labels = archive["images28"][:, None], archive["character"]
            drawer = archive["drawer"]
        parts = (drawer <= 16, (drawer > 16) & (drawer <= 18), drawer > 18)
        return _image_data("omniglot_small", *((images[part], labels[part]) for part in parts))
    if files.root is None:
        raise FileNotFoundError(
            "chardata.mat of Burda et al. is not downloaded, as no checksum of it is published: take it "
            f"from {_OMNIGLOT} into a folder named by `root`, --data-dir or {DATA_VARIABLE}"
        )
    path = files.fetch("chardata.mat")
    arrays = read_mat(path, data=(784, None), target=(50, None), testdata=(784, None), testtarget=(50, None))

    def split(images: str, labels: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        levels = np.rint(255 * arrays[images].T).astype(np.uint8)  # shares of ink in [0, 1]
        # MATLAB counts pixels down the columns.
        return levels.reshape(-1, 1, 28, 28).swapaxes(2, 3), arrays[labels].argmax(0)

    images, labels = split("data", "target")
    order = np.random.default_rng(0).permutation(len(images))
    valid, train = np.split(order, [len(order) * _OMNIGLOT_VALID // 24_345])
    return _image_data(
        "omniglot",
        (images[train], labels[train]),
        (images[valid], labels[valid]),
        split("testdata", "testtarget"),
    )


def _svhn(files: DataFiles) -> ImageData:
    head = files.find("svhn_head.npz") if files.find("train_32x32.mat") is None else None
    if head is not None:
        with np.load(head) as archive:
            images, labels = archive["X_train"].transpose(0, 3, 1, 2), archive["y_train"]
            photo, extra = archive["photo_train"], archive["X_extra"].transpose(0, 3, 1, 2)
        last = photo > np.quantile(photo, 7 / 8)
        return _image_data(
            "svhn_head", (images[~last], labels[~last]), (extra, None), (images[last], labels[last])
        )

    def read(part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        path = files.fetch(f"{part}_32x32.mat")
        arrays = read_mat(path, X=(32, 32, 3, None), y=(None, 1))
        if arrays["X"].shape[-1] != len(arrays["y"]):
            raise ValueError(
                f"{path} must hold one label an image, got {len(arrays['y'])} labels for "
                f"{arrays['X'].shape[-1]} images"
            )
        return arrays["X"].transpose(3, 2, 0, 1), arrays["y"].ravel() % 10  # they write 0 as 10

    extra, extra_labels = read("extra")
    chosen = np.sort(np.random.default_rng(0).permutation(len(extra))[:_SVHN_VALID])
    return _image_data("svhn", read("train"), (extra[chosen], extra_labels[chosen]), read("test"))


def _image_data(name: str, *splits: tuple[NDArray[np.uint8], NDArray[np.integer] | None]) -> ImageData:
    """Turn the grey or coloured images, and the labels, of the three splits into tensors."""
    train, valid, test = (torch.from_numpy(np.ascontiguousarray(images)) for images, _ in splits)
    labels = [None if label is None else torch.from_numpy(label.astype(np.int64)) for _, label in splits]
    return ImageData(
        name,
        train,
        valid,
        test,
        binary=False,
        train_labels=labels[0],
        valid_labels=labels[1],
        test_labels=labels[2],
    )


_READERS = {
    "mnist": _mnist,
    "binarized_mnist": _binarized_mnist,
    "fashion_mnist": _mnist,
    "omniglot": _omniglot,
    "svhn": _svhn,
}
