"""Files of public data sets, in a folder that the user names or downloaded and checked; their formats."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pooch  # type: ignore[import-untyped]
import scipy.io
from numpy.typing import NDArray
from scipy.io.matlab import MatReadError

DATA_VARIABLE = "INFOPLANE_DATA"
MIRROR_VARIABLE = "INFOPLANE_MIRROR"

SOURCES = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "binarized_mnist": "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
    "svhn": "http://ufldl.stanford.edu/housenumbers/",
}
CHECKSUMS = {  # SHA-256 unless said otherwise
    "mnist": {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "fashion_mnist": {  # by their publishers
        "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
    },
    "binarized_mnist": {
        "binarized_mnist_train.amat": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
        "binarized_mnist_valid.amat": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
        "binarized_mnist_test.amat": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
    },
    "svhn": {
        "train_32x32.mat": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "md5:eb5a983be6a315427106f1b164d9cef3",
        "extra_32x32.mat": "md5:a93ce644f1a588dc4d68dda5feec44a7",
    },
}
_SUBFOLDERS = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}  # torchvision's


@dataclass(frozen=True)
class DataFiles:
    """Where the files of one data set are: in the user's folder, or in the cache after a download.

    Parameters
    ----------
    name : str
        The data set.
    root : Path or None
        The user's folder; None downloads.
    mirror : str or None
        URL of a folder to download from, instead of the files' home.
    """

    name: str
    root: Path | None
    mirror: str | None

    @classmethod
    def of(cls, name: str, root: str | os.PathLike[str] | None, mirror: str | None) -> DataFiles:
        """Take what the arguments leave open from the environment.

        Parameters
        ----------
        name : str
            The data set.
        root : path or None
            The user's folder.
        mirror : str or None
            URL.
        """
        folder = root if root is not None else os.environ.get(DATA_VARIABLE) or None
        return cls(
            name, None if folder is None else Path(folder), mirror or os.environ.get(MIRROR_VARIABLE) or None
        )

    def find(self, *names: str) -> Path | None:
        """Return the first of several possible files that exists in the user's folder.

        Parameters
        ----------
        *names
            File names.
        """
        if self.root is None:
            return None
        # Its own subfolder first: MNIST and Fashion-MNIST have files of the same names.
        folders = [self.root / self.name, self.root]
        if self.name in _SUBFOLDERS:
            folders.append(self.root / _SUBFOLDERS[self.name])
        return next((path for name in names for folder in folders if (path := folder / name).is_file()), None)

    def fetch(self, original: str, *also: str) -> Path:
        """Return the path of the original file, or of another form of it in the user's folder.

        Parameters
        ----------
        original : str
            Name under which it is published.
        *also
            Other names.

        Raises
        ------
        FileNotFoundError
            If it is not in the named folder, or cannot be downloaded; the message says what to do.
        ValueError
            If the download is damaged.
        """
        if self.root is None:
            return self._download(original)
        path = self.find(original, *also)
        if path is None:
            raise FileNotFoundError(
                f"no {' or '.join((original, *also))} in {self.root} or {self.root / self.name}; "
                f"put it there, name another folder (`root`, --data-dir or {DATA_VARIABLE}), "
                "or name none to download it"
            )
        return path

    def _download(self, original: str) -> Path:
        base = SOURCES[self.name] if self.mirror is None else self.mirror.rstrip("/") + "/"
        cache = Path(pooch.os_cache("infoplane")) / self.name
        try:
            # pooch downloads into a temporary file beside the target and renames it once its hash is right
            path = pooch.retrieve(
                base + original,
                known_hash=CHECKSUMS[self.name][original],
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


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read bytes in Y. LeCun's IDX format: 0, 0, type (8 = uint8), rank, big-endian sizes, then the values.

    Parameters
    ----------
    path : Path
        The file, packed by gzip if its name ends so.

    Raises
    ------
    ValueError
        If it is damaged, or something else.

    Examples
    --------
    >>> import tempfile
    >>> from infoplane_torch.data_files import read_idx
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = Path(file.name).write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    ...     read_idx(Path(file.name))
    array([7, 8, 9], dtype=uint8)
    """
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


def read_amat(path: Path) -> NDArray[np.uint8]:
    """Read the digits 0 and 1 of a text file, one image of 784 pixels a line.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ValueError
        If it holds anything else.

    Examples
    --------
    >>> import tempfile
    >>> from infoplane_torch.data_files import read_amat
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = Path(file.name).write_text("0 1 " * 392 + "\\n")
    ...     read_amat(Path(file.name)).shape
    (1, 784)
    """
    characters = np.frombuffer(path.read_bytes(), np.uint8)
    pixels = characters[characters > ord(" ")] - ord("0")
    if pixels.size == 0 or pixels.size % 784 or pixels.max() > 1:
        raise ValueError(f"{path} must hold lines of 784 digits 0 or 1, got {pixels.size} characters")
    return pixels.reshape(-1, 784)


def read_mat(path: Path, **shapes: tuple[int | None, ...]) -> dict[str, NDArray[Any]]:
    """Read arrays of a MATLAB file, and hold them against the shapes that they must have.

    Parameters
    ----------
    path : Path
        The file, of MATLAB 5 to 7.2.
    **shapes
        Names and shapes, in which None is any size.

    Raises
    ------
    ValueError
        If the file is damaged, lacks an array or has one of another shape.

    Examples
    --------
    >>> import io, tempfile
    >>> from infoplane_torch.data_files import read_mat
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scipy.io.savemat(f"{folder}/x.mat", {"X": np.zeros((3, 2))})
    ...     read_mat(Path(folder) / "x.mat", X=(3, None))["X"].shape
    (3, 2)
    """
    try:
        content = scipy.io.loadmat(path, variable_names=list(shapes))
    except (MatReadError, ValueError, TypeError, OSError, EOFError, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path} is not a complete MATLAB file: {error}") from error
    for name, shape in shapes.items():
        got = content[name].shape if name in content else None
        if (
            got is None
            or len(got) != len(shape)
            or any(n not in (None, m) for n, m in zip(shape, got, strict=True))
        ):
            wanted = ", ".join("n" if size is None else str(size) for size in shape)
            raise ValueError(f"{path} must hold `{name}` of shape ({wanted}), got {got or 'none'}")
    return {name: content[name] for name in shapes}


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an ``.npz`` file.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ValueError
        If it is damaged, something else, or holds Python objects.

    Examples
    --------
    >>> import tempfile
    >>> from infoplane_torch.data_files import read_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/x.npz", train=np.zeros((3, 2)))
    ...     sorted(read_npz(Path(folder) / "x.npz"))
    ['train']
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not an .npz file, or not a complete one")
    try:
        with np.load(path) as archive:
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
        reason = "it holds Python objects" if "allow_pickle" in str(error) else str(error)
        raise ValueError(f"{path} cannot be read as arrays of numbers: {reason}") from error
