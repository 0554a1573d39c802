"""Image data sets kept as uint8, read from a folder or downloaded once; shuffled, binarised batches."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray

from infoplane_torch.image_data import ImageData, batches, epoch_seed

DATA_VARIABLE = "INFOPLANE_DATA"
MIRROR_VARIABLE = "INFOPLANE_MIRROR"

_SOURCES = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "binarized_mnist": "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
}
_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    "binarized_mnist_train.amat": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
    "binarized_mnist_valid.amat": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
    "binarized_mnist_test.amat": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
}


def load(name: str, root: str | os.PathLike[str] | None = None, *, mirror: str | None = None) -> ImageData:
    """Load a data set: `digits` (embedded), `mnist` or `binarized_mnist`.

    Parameters
    ----------
    name : {"digits", "mnist", "binarized_mnist"}
        `digits` are scikit-learn's 1,797 grey images of 8 × 8 pixels, split 1,197 / 300 / 300 with equal
        shares of each class. `mnist` are 28 × 28 grey images, 50,000 / 10,000 / 10,000: the last 10,000
        training images validate. `binarized_mnist` is the static binarisation in the same sizes [1]_.
    root : path, optional
        Folder that holds the files, itself or in a subfolder called like the data set: the original files
        (``train-images-idx3-ubyte.gz`` …, unpacked or not; ``binarized_mnist_train.amat`` …) or
        ``binarized_mnist.npz`` with arrays ``train``, ``valid``, ``test`` of bits packed by `numpy.packbits`.
        Without it, the folder named by the environment variable ``INFOPLANE_DATA``; without that, the files
        are downloaded once into the user's cache and checked by SHA-256.
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
        If the files are not in the named folder, or cannot be downloaded; the message says what to do.

    Notes
    -----
    Static and dynamic binarisation differ by about 2 nats of likelihood on MNIST: always say which. The
    test split of `binarized_mnist` is sorted by class and the set has no labels: shuffle before taking a
    part of it.

    References
    ----------
    .. [1] H. Larochelle, I. Murray, "The neural autoregressive distribution estimator", AISTATS 2011.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.train.dtype, digits.binarization
    (torch.uint8, 'dynamic')
    """
    if name == "digits":
        return _digits()
    folder = root if root is not None else os.environ.get(DATA_VARIABLE) or None
    files = _Files(name, None if folder is None else Path(folder), mirror or os.environ.get(MIRROR_VARIABLE))
    if name == "mnist":
        return _mnist(files)
    if name == "binarized_mnist":
        return _binarized_mnist(files)
    raise ValueError(f'`name` must be "digits", "mnist" or "binarized_mnist", got {name!r}')


@dataclass(frozen=True)
class _Files:
    """Where the files of one data set are: in the user's folder, or in the cache after a download."""

    name: str
    root: Path | None
    mirror: str | None

    def find(self, *names: str) -> Path | None:
        """Return the first of several possible files that exists in the user's folder."""
        if self.root is None:
            return None
        folders = (self.root, self.root / self.name, self.root / "MNIST" / "raw")  # the last: torchvision's
        return next((path for name in names for folder in folders if (path := folder / name).is_file()), None)

    def fetch(self, original: str, *also: str) -> Path:
        """Return the path of the original file, or of another form of it in the user's folder."""
        if self.root is not None:
            path = self.find(original, *also)
            if path is None:
                raise FileNotFoundError(
                    f"no {' or '.join((original, *also))} in {self.root} or {self.root / self.name}; "
                    f"put it there, name another folder (`root`, --data-dir or {DATA_VARIABLE}), "
                    "or name none to download it"
                )
            return path
        return self._download(original)

    def _download(self, original: str) -> Path:
        base = _SOURCES[self.name] if self.mirror is None else self.mirror.rstrip("/") + "/"
        cache = Path(pooch.os_cache("infoplane")) / self.name
        try:
            # pooch downloads into a temporary file beside the target and renames it once its hash is right
            path = pooch.retrieve(
                base + original,
                known_hash=f"sha256:{_SHA256[original]}",
                fname=original,
                path=cache,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=30),
            )
        except OSError as error:
            raise FileNotFoundError(
                f"{base + original} could not be downloaded ({type(error).__name__}: {error}); "
                f"without a network, copy it into {cache}, or into a folder named by `root`, --data-dir or "
                f"{DATA_VARIABLE}; another server can be named by `mirror` or {MIRROR_VARIABLE}; "
                "the data set `digits` needs no download"
            ) from error
        except ValueError as error:
            raise ValueError(
                f"{base + original} is damaged or has been changed: {error}; nothing was kept, "
                f"try again or name another server by `mirror` or {MIRROR_VARIABLE}"
            ) from error
        return Path(path)


def _digits() -> ImageData:
    from sklearn.datasets import load_digits  # here, because scikit-learn takes a second

    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    order = _stratified_order(labels)
    images, labels = torch.from_numpy(images[order]), torch.from_numpy(labels[order].astype(np.int64))
    test, valid, train = slice(0, 300), slice(300, 600), slice(600, None)
    return ImageData(
        "digits",
        images[train],
        images[valid],
        images[test],
        False,
        labels[train],
        labels[valid],
        labels[test],
    )


def _stratified_order(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a fixed random order in which every stretch holds each class in about its share."""
    generator = np.random.default_rng(0)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[generator.permutation(members)] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(place)


def _mnist(files: _Files) -> ImageData:
    def read(stem: str) -> NDArray[np.uint8]:
        return _read_idx(files.fetch(f"{stem}.gz", stem, stem.replace("-idx", ".idx")))

    images, labels = read("train-images-idx3-ubyte"), read("train-labels-idx1-ubyte")
    test, test_labels = read("t10k-images-idx3-ubyte"), read("t10k-labels-idx1-ubyte")
    if len(images) != len(labels) or len(test) != len(test_labels):
        raise ValueError(
            f"the MNIST files must hold one label an image, got {len(labels)} and {len(test_labels)} labels "
            f"for {len(images)} and {len(test)} images"
        )
    cut = len(images) - len(images) // 6  # 50,000 of 60,000
    pixels = torch.from_numpy(images)[:, None]
    classes = torch.from_numpy(labels.astype(np.int64))
    return ImageData(
        "mnist",
        train=pixels[:cut],
        valid=pixels[cut:],
        test=torch.from_numpy(test)[:, None],
        binary=False,
        train_labels=classes[:cut],
        valid_labels=classes[cut:],
        test_labels=torch.from_numpy(test_labels.astype(np.int64)),
    )


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Read Y. LeCun's IDX format: 0, 0, type (8 = uint8), rank, then big-endian sizes, then the values."""
    content = path.read_bytes()
    try:
        raw = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a complete gzip file: {error}") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08" or len(raw) < 4 + 4 * raw[3]:
        raise ValueError(f"{path} is not an IDX file of bytes: it starts with {raw[:4]!r}")
    shape = struct.unpack_from(f">{raw[3]}I", raw, 4)
    offset = 4 + 4 * raw[3]
    if len(raw) - offset != int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"{path} must hold {shape} values after its header, got {len(raw) - offset}")
    return np.frombuffer(raw, np.uint8, offset=offset).reshape(shape).copy()


def _binarized_mnist(files: _Files) -> ImageData:
    packed = files.find("binarized_mnist.npz")
    if packed is not None:
        with np.load(packed) as archive:
            splits = [np.unpackbits(archive[split], axis=1) for split in ("train", "valid", "test")]
    else:
        splits = [
            _read_amat(files.fetch(f"binarized_mnist_{split}.amat")) for split in ("train", "valid", "test")
        ]
    train, valid, test = (torch.from_numpy(split).reshape(-1, 1, 28, 28) for split in splits)
    return ImageData("binarized_mnist", train, valid, test, binary=True)


def _read_amat(path: Path) -> NDArray[np.uint8]:
    """Read the digits 0 and 1 of a text file, one image of 784 pixels a line."""
    characters = np.frombuffer(path.read_bytes(), np.uint8)
    pixels = characters[characters > ord(" ")] - ord("0")
    if pixels.size == 0 or pixels.size % 784 or pixels.max() > 1:
        raise ValueError(f"{path} must hold lines of 784 digits 0 or 1, got {pixels.size} characters")
    return pixels.reshape(-1, 784)
