"""Data sets: read from folders of either layout, downloaded with checks, batched reproducibly."""

import gzip
import hashlib
import os
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from infoplane_torch import data, data_files
from infoplane_torch.data import ImageData, batches, epoch_seed, load

DAMAGED = {
    "not idx": (b"PK\x03\x04 something else", "not an IDX file"),
    "too short": (struct.pack(">HBB3I", 0, 8, 3, 12, 28, 28) + bytes(100), "must hold"),
    "empty": (b"", "not an IDX file"),
}


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def mnist_files() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (12, 28, 28), np.uint8),
        "train-labels-idx1-ubyte": np.arange(12, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (4, 28, 28), np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(4, dtype=np.uint8),
    }
    return {f"{name}.gz": gzip.compress(idx(values)) for name, values in arrays.items()}


@pytest.fixture
def binary_rows() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    sizes = {"train": 5, "valid": 3, "test": 2}
    return {split: rng.integers(0, 2, (n, 784)).astype(np.uint8) for split, n in sizes.items()}


def amat(rows: np.ndarray) -> bytes:
    return b"".join(b" ".join(b"%d" % pixel for pixel in row) + b"\n" for row in rows)


class Server:
    """Serves byte strings by name, or breaks off in the middle of one; counts the requests."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.requests, self.break_off = files, 0, False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                content = outer.files.get(self.path.lstrip("/"))
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if outer.break_off else content)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)
    monkeypatch.delenv(data.MIRROR_VARIABLE, raising=False)
    monkeypatch.setattr(data_files.pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "infoplane"


@pytest.fixture
def server(mnist_files, monkeypatch, cache):
    server = Server(dict(mnist_files))
    for name, content in mnist_files.items():
        monkeypatch.setitem(
            data_files.CHECKSUMS["mnist"], name, f"sha256:{hashlib.sha256(content).hexdigest()}"
        )
    yield server
    server.close()


def test_the_digits_are_all_of_scikit_learns_images_each_in_one_split():
    digits = load("digits")
    pixels = torch.cat([digits.train, digits.valid, digits.test]).flatten(1).numpy()
    original = np.rint(load_digits().data * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, pixels)) == sorted(map(bytes, original))


def test_the_digits_have_equal_shares_of_each_class_in_each_split():
    digits = load("digits")
    labels = torch.cat([digits.train_labels, digits.valid_labels, digits.test_labels])
    share = torch.bincount(labels) / len(labels)
    for part in (digits.train_labels, digits.valid_labels, digits.test_labels):
        assert (torch.bincount(part, minlength=10) - share * len(part)).abs().max() <= 2


def test_the_labels_of_the_digits_belong_to_their_images():
    digits = load("digits")
    x, y = load_digits(return_X_y=True)
    known = {bytes(np.rint(row * 255 / 16).astype(np.uint8)): label for row, label in zip(x, y, strict=True)}
    for image, label in zip(digits.test, digits.test_labels, strict=True):
        assert known[bytes(image.flatten().numpy())] == label


@pytest.mark.parametrize("form", ["gz", "unpacked", "dotted", "subfolder", "torchvision"])
def test_mnist_is_read_from_each_layout_of_its_files(form, mnist_files, tmp_path):
    folder = {"subfolder": tmp_path / "mnist", "torchvision": tmp_path / "MNIST" / "raw"}.get(form, tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in mnist_files.items():
        if form in ("unpacked", "dotted"):
            name, content = name.removesuffix(".gz"), gzip.decompress(content)
        if form == "dotted":
            name = name.replace("-idx", ".idx")
        (folder / name).write_bytes(content)
    mnist = load("mnist", tmp_path)
    assert [len(split) for split in (mnist.train, mnist.valid, mnist.test)] == [10, 2, 4]
    assert mnist.train_labels.tolist() == [*range(10)]
    assert mnist.valid_labels.tolist() == [0, 1]
    assert mnist.shape == (1, 28, 28)
    expected = np.frombuffer(gzip.decompress(mnist_files["t10k-images-idx3-ubyte.gz"]), np.uint8, offset=16)
    assert np.array_equal(mnist.test.numpy().ravel(), expected)


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_mnist_file_is_a_clear_error(case, mnist_files, tmp_path):
    content, message = DAMAGED[case]
    for name, good in mnist_files.items():
        (tmp_path / name).write_bytes(good)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=message):
        load("mnist", tmp_path)


def test_a_cut_off_gzip_file_is_a_clear_error(mnist_files, tmp_path):
    for name, good in mnist_files.items():
        (tmp_path / name).write_bytes(good[: len(good) // 2] if "train-images" in name else good)
    with pytest.raises(ValueError, match="not a complete gzip file"):
        load("mnist", tmp_path)


def test_a_label_too_few_is_a_clear_error(mnist_files, tmp_path):
    for name, content in mnist_files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(11, np.uint8))))
    with pytest.raises(ValueError, match="one label an image, got 11 and 4 labels for 12 and 4 images"):
        load("mnist", tmp_path)


def test_binarized_mnist_is_the_same_from_text_and_from_packed_bits(binary_rows, tmp_path):
    (tmp_path / "text").mkdir()
    for split, rows in binary_rows.items():
        (tmp_path / "text" / f"binarized_mnist_{split}.amat").write_bytes(amat(rows))
    (tmp_path / "packed" / "binarized_mnist").mkdir(parents=True)
    packed = {split: np.packbits(rows, axis=1) for split, rows in binary_rows.items()}
    np.savez(tmp_path / "packed" / "binarized_mnist" / "binarized_mnist.npz", **packed)
    text, bits = load("binarized_mnist", tmp_path / "text"), load("binarized_mnist", tmp_path / "packed")
    for split, rows in binary_rows.items():
        assert torch.equal(getattr(text, split), getattr(bits, split))
        assert np.array_equal(getattr(text, split).flatten(1).numpy(), rows)
    assert text.binary
    assert text.binarization == "static"


@pytest.mark.parametrize("content", [b"", b"0 1 2\n" * 784, b"0 1 0\n", b"-1 " * 784])
def test_a_text_that_is_not_binary_images_is_a_clear_error(content, binary_rows, tmp_path):
    for split, rows in binary_rows.items():
        (tmp_path / f"binarized_mnist_{split}.amat").write_bytes(amat(rows))
    (tmp_path / "binarized_mnist_valid.amat").write_bytes(content)
    with pytest.raises(ValueError, match="lines of 784 digits 0 or 1"):
        load("binarized_mnist", tmp_path)


def test_the_environment_names_the_folder_unless_the_argument_does(binary_rows, tmp_path, monkeypatch, cache):
    np.savez(tmp_path / "binarized_mnist.npz", **{s: np.packbits(r, axis=1) for s, r in binary_rows.items()})
    monkeypatch.setenv(data.DATA_VARIABLE, str(tmp_path))
    assert len(load("binarized_mnist").train) == 5
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        load("binarized_mnist", tmp_path / "elsewhere")


def test_files_missing_from_the_named_folder_are_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no train-images-idx3-ubyte\.gz or .*INFOPLANE_DATA"):
        load("mnist", tmp_path)


def test_an_unknown_name_is_a_clear_error():
    with pytest.raises(ValueError, match=r'`name` must be "digits", .* got \'cifar\''):
        load("cifar")


def test_a_download_is_checked_kept_and_not_repeated(server, cache):
    first = load("mnist", mirror=server.url)
    assert server.requests == 4
    again = load("mnist", mirror=server.url)
    assert server.requests == 4
    assert torch.equal(first.train, again.train)
    assert sorted(path.name for path in (cache / "mnist").iterdir()) == sorted(server.files)


def test_the_environment_names_a_mirror(server, monkeypatch):
    monkeypatch.setenv(data.MIRROR_VARIABLE, server.url + "/")
    assert len(load("mnist").train) == 10


def test_a_download_with_a_wrong_checksum_is_an_error_and_nothing_is_kept(server, cache):
    server.files["train-images-idx3-ubyte.gz"] += b"!"
    with pytest.raises(ValueError, match="damaged or has been changed"):
        load("mnist", mirror=server.url)
    assert list((cache / "mnist").iterdir()) == []


def test_an_interrupted_download_leaves_no_half_file_and_can_be_repeated(server, cache):
    server.break_off = True
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        load("mnist", mirror=server.url)
    assert list((cache / "mnist").iterdir()) == []
    server.break_off = False
    assert len(load("mnist", mirror=server.url).train) == 10


def test_a_cached_file_that_was_damaged_later_is_downloaded_again(server, cache):
    load("mnist", mirror=server.url)
    (cache / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"half")
    assert len(load("mnist", mirror=server.url).train) == 10
    assert server.requests == 5


def test_without_network_the_error_says_what_to_do(server, cache):
    server.close()
    with pytest.raises(FileNotFoundError, match=r"copy it into .*INFOPLANE_DATA.*INFOPLANE_MIRROR.*digits"):
        load("mnist", mirror=server.url)


def test_each_image_comes_once_in_an_epoch():
    images = torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1)
    epoch = [*batches(images, 4, seed=0, epoch=1, binary=True)]
    assert [len(batch) for batch in epoch] == [4, 4, 2]
    assert sorted(torch.cat(epoch).flatten().tolist()) == [*range(10)]


def test_batches_are_a_function_of_seed_and_epoch_and_of_nothing_else():
    digits = load("digits")

    def epoch(seed: int, number: int) -> torch.Tensor:
        return torch.cat([*batches(digits.train, 100, seed=seed, epoch=number, binary=False)])

    first = epoch(3, 7)
    torch.rand(5)
    state = torch.get_rng_state()
    assert torch.equal(first, epoch(3, 7))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, epoch(3, 8))
    assert not torch.equal(first, epoch(7, 3))


def test_dynamic_binarisation_has_the_grey_level_as_its_mean():
    n, level = 40_000, 51
    images = torch.full((n, 1, 1, 1), level, dtype=torch.uint8)
    drawn = torch.cat([*batches(images, 1000, seed=0, epoch=1, binary=False)])
    assert drawn.unique().tolist() == [0, 1]
    p = level / 255
    assert abs(float(drawn.mean()) - p) < 4 * (p * (1 - p) / n) ** 0.5


def test_grey_levels_can_be_kept_for_continuous_likelihoods():
    digits = load("digits")
    grey = next(batches(digits.train, 1197, seed=0, epoch=1, binary=False, binarize=False))
    assert grey.min() == 0
    assert grey.max() == 1
    assert len(grey.unique()) == 17
    assert torch.equal(digits.evaluation_images("valid", binarize=False), digits.valid / 255)


def test_dequantised_levels_are_uniform_within_their_level():
    images = torch.arange(256, dtype=torch.uint8).repeat(200)[:, None, None, None]
    epochs = [
        torch.cat([*batches(images, 999, seed=0, epoch=i, binary=False, binarize=False, dequantize=True)])
        for i in (1, 2)
    ]
    assert not torch.equal(*epochs)
    levels = (256 * epochs[0]).floor()
    assert torch.bincount(levels.flatten().int()).tolist() == [200] * 256
    noise = 256 * epochs[0].flatten() - levels.flatten()
    # sd/sqrt(n) of uniform noise is 1/sqrt(12 n) = 0.0013 for n = 51,200; fourths are equal within 4.5 sd.
    assert abs(float(noise.mean()) - 0.5) < 4.5 * 0.0013
    fourths = torch.histc(noise, 4, 0, 1) / len(noise)
    assert (fourths - 0.25).abs().max() < 4.5 * (0.25 * 0.75 / len(noise)) ** 0.5


def test_evaluation_images_are_dequantised_once_for_all():
    digits = load("digits")
    images = digits.evaluation_images("test", binarize=False, dequantize=True)
    torch.manual_seed(1)
    assert torch.equal(images, digits.evaluation_images("test", binarize=False, dequantize=True))
    assert torch.equal((256 * images).floor(), digits.test.float())
    assert digits.pixels(binarize=False, dequantize=True) == "dequantised grey levels"
    with pytest.raises(ValueError, match="`dequantize` must have grey levels, got `binarize` = True"):
        digits.evaluation_images("test", dequantize=True)


def test_evaluation_images_are_binary_and_the_same_each_time():
    digits = load("digits")
    images = digits.evaluation_images("test")
    torch.manual_seed(1)
    assert torch.equal(images, digits.evaluation_images("test"))
    assert images.unique().tolist() == [0, 1]
    assert not torch.equal(images, digits.test / 255)


def test_static_images_are_not_drawn_again():
    images = torch.randint(0, 2, (6, 1, 4, 4), dtype=torch.uint8)
    static = ImageData("static", images, images, images, binary=True)
    assert torch.equal(static.evaluation_images("train"), images.float())


def test_bad_arguments_are_clear_errors():
    digits = load("digits")
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        next(batches(digits.train, 0, seed=0, epoch=1, binary=False))
    with pytest.raises(ValueError, match=r'`split` must be "train", "valid" or "test", got \'all\''):
        digits.evaluation_images("all")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 1, 8, 8), "non-empty uint8 tensor"),
        (torch.zeros(3, 64, dtype=torch.uint8), "non-empty uint8 tensor"),
        (torch.zeros(0, 1, 8, 8, dtype=torch.uint8), "non-empty uint8 tensor"),
        (torch.zeros(3, 1, 9, 8, dtype=torch.uint8), r"images of shape \(1, 8, 8\) like `train`"),
        (torch.full((3, 1, 8, 8), 7, dtype=torch.uint8), "only 0 and 1"),
    ],
)
def test_images_of_the_wrong_kind_are_clear_errors(images, message):
    good = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=f"`valid` must .*{message}|`valid` must be a {message}"):
        ImageData("mine", good, images, good, binary=True)


def test_neighbouring_seeds_and_epochs_give_different_streams():
    seeds = {
        epoch_seed(seed, epoch, stream=stream) for seed in range(9) for epoch in range(9) for stream in (0, 1)
    }
    assert len(seeds) == 9 * 9 * 2


@pytest.mark.skipif(not os.environ.get(data.DATA_VARIABLE), reason="INFOPLANE_DATA names no folder")
def test_the_real_sets_have_their_published_sizes_and_means():
    mnist, binarized = load("mnist"), load("binarized_mnist")
    for images in (mnist, binarized):
        assert [len(split) for split in (images.train, images.valid, images.test)] == [50_000, 10_000, 10_000]
    assert torch.bincount(mnist.test_labels).tolist()[:3] == [980, 1135, 1032]
    assert float(mnist.test.float().mean()) / 255 == pytest.approx(0.1325, abs=5e-5)
    small, head = load("omniglot"), load("svhn")
    assert (small.name, len(small.train), len(small.valid), len(small.test)) == (
        "omniglot_small",
        3872,
        484,
        484,
    )
    assert (head.name, head.shape, len(head.valid)) == ("svhn_head", (3, 32, 32), 181)
    shares = [float(split.float().mean()) for split in (binarized.train, binarized.valid, binarized.test)]
    assert shares == pytest.approx([0.13056, 0.13113, 0.13251], abs=5e-6)
