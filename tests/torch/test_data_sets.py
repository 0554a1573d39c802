"""Fashion-MNIST, SVHN and Omniglot from small stand-ins of their files; a user's own images."""

import gzip
import hashlib
import io

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from infoplane_torch import data, data_files
from infoplane_torch.data import from_arrays, from_dataset, from_folder, load
from tests.torch.test_data import Server, idx

RNG = np.random.default_rng(0)


def fashion_files() -> dict[str, bytes]:
    arrays = {
        "train-images-idx3-ubyte": RNG.integers(0, 256, (12, 28, 28), np.uint8),
        "train-labels-idx1-ubyte": np.arange(12, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": RNG.integers(0, 256, (4, 28, 28), np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(4, dtype=np.uint8),
    }
    return {f"{name}.gz": gzip.compress(idx(values)) for name, values in arrays.items()}


def mat(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, arrays, do_compression=True)
    return file.getvalue()


SVHN = {
    part: (RNG.integers(0, 256, (32, 32, 3, n), np.uint8), 1 + np.arange(n)[:, None].astype(np.uint8) % 10)
    for part, n in (("train", 12), ("test", 5), ("extra", 9))
}


def svhn_files() -> dict[str, bytes]:
    return {f"{part}_32x32.mat": mat(X=images, y=labels) for part, (images, labels) in SVHN.items()}


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve stand-ins for the files of a data set, with their checksums instead of the real ones."""
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)
    monkeypatch.delenv(data.MIRROR_VARIABLE, raising=False)
    monkeypatch.setattr(data_files.pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    servers = []

    def serve(name: str, files: dict[str, bytes]) -> Server:
        assert set(files) == set(data_files.CHECKSUMS[name])
        sums = {file: f"md5:{hashlib.md5(content).hexdigest()}" for file, content in files.items()}
        monkeypatch.setitem(data_files.CHECKSUMS, name, sums)
        servers.append(Server(files))
        monkeypatch.setitem(data_files.SOURCES, name, servers[-1].url + "/")
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


def test_fashion_mnist_is_downloaded_and_checked(serve):
    server = serve("fashion_mnist", fashion_files())
    fashion = load("fashion_mnist")
    assert (fashion.name, fashion.shape, server.requests) == ("fashion_mnist", (1, 28, 28), 4)
    assert [len(split) for split in (fashion.train, fashion.valid, fashion.test)] == [10, 2, 4]
    assert fashion.train_labels.tolist() == [*range(10)]


def test_fashion_mnist_is_not_mistaken_for_mnist_whose_files_have_the_same_names(tmp_path):
    for folder, files in ((tmp_path, fashion_files()), (tmp_path / "fashion_mnist", fashion_files())):
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    own = load("mnist", tmp_path / "fashion_mnist")
    assert torch.equal(load("fashion_mnist", tmp_path).train, own.train)
    assert not torch.equal(load("mnist", tmp_path).train, own.train)


def test_svhn_is_downloaded_with_its_channels_first_and_tens_as_noughts(serve):
    serve("svhn", svhn_files())
    svhn = load("svhn")
    assert svhn.shape == (3, 32, 32)
    assert [len(split) for split in (svhn.train, svhn.valid, svhn.test)] == [12, 9, 5]
    images, labels = SVHN["train"]
    assert np.array_equal(svhn.train[7, 1].numpy(), images[:, :, 1, 7])
    assert svhn.train_labels.tolist() == [label % 10 for label in labels.ravel()]


def test_svhn_validates_on_so_many_of_its_extra_images_each_with_its_label(serve, monkeypatch):
    monkeypatch.setattr(data, "_SVHN_VALID", 6)
    serve("svhn", svhn_files())
    svhn = load("svhn")
    images, labels = SVHN["extra"]
    known = {images[..., i].transpose(2, 0, 1).tobytes(): int(labels[i, 0]) % 10 for i in range(9)}
    assert [known[image.numpy().tobytes()] for image in svhn.valid] == svhn.valid_labels.tolist()
    assert len(svhn.valid) == 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not MATLAB", "is not a complete MATLAB file"),
        (svhn_files()["train_32x32.mat"][:500], "is not a complete MATLAB file"),
        (
            mat(X=np.zeros((3, 3)), y=np.zeros((3, 1))),
            r"must hold `X` of shape \(32, 32, 3, n\), got \(3, 3\)",
        ),
        (mat(X=SVHN["train"][0]), r"must hold `y` of shape \(n, 1\), got none"),
        (mat(X=SVHN["train"][0], y=np.ones((3, 1))), "one label an image, got 3 labels for 12 images"),
    ],
    ids=["other", "cut off", "shape", "missing", "labels"],
)
def test_a_damaged_matlab_file_is_a_clear_error(content, message, tmp_path):
    for name, good in (svhn_files() | {"train_32x32.mat": content}).items():
        (tmp_path / name).write_bytes(good)
    with pytest.raises(ValueError, match=message):
        load("svhn", tmp_path)


def test_omniglot_is_turned_upright_and_split(tmp_path):
    image = RNG.random((28, 28))
    target = np.eye(50)[:, np.arange(40)]
    train = np.repeat(image.T.reshape(-1, 1), 40, axis=1)  # MATLAB counts down the columns
    arrays = {"data": train, "target": target, "testdata": train[:, :6], "testtarget": target[:, :6]}
    (tmp_path / "chardata.mat").write_bytes(mat(**arrays))
    omniglot = load("omniglot", tmp_path)
    assert (omniglot.name, omniglot.shape, omniglot.binary) == ("omniglot", (1, 28, 28), False)
    assert [len(split) for split in (omniglot.train, omniglot.valid, omniglot.test)] == [38, 2, 6]
    assert np.array_equal(omniglot.train[3, 0].numpy(), np.rint(255 * image))
    assert sorted(torch.cat([omniglot.train_labels, omniglot.valid_labels]).tolist()) == [*range(40)]


def test_omniglot_is_not_downloaded_but_the_error_says_where_it_is(monkeypatch):
    monkeypatch.delenv(data.DATA_VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError, match=r"chardata\.mat .* https://github\.com/yburda/iwae"):
        load("omniglot")


def test_the_first_images_of_svhn_are_split_by_photo(tmp_path):
    photo = np.repeat(np.arange(8), 3).astype(np.uint16)
    images = RNG.integers(0, 256, (24, 32, 32, 3), np.uint8)
    np.savez(
        tmp_path / "svhn_head.npz",
        X_train=images,
        y_train=photo.astype(np.uint8) % 10,
        photo_train=photo,
        X_extra=images[:4],
    )
    head = load("svhn", tmp_path)
    assert (head.name, len(head.train), len(head.valid), len(head.test)) == ("svhn_head", 21, 4, 3)
    assert set(head.test_labels.tolist()).isdisjoint(head.train_labels.tolist())


LAYOUTS = {
    "uint8": lambda x: x,
    "channels last": lambda x: np.moveaxis(x, 1, -1),
    "floats": lambda x: x / 255,
    "tensor": torch.from_numpy,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_each_layout_give_the_same_images(layout):
    images = RNG.integers(0, 256, (20, 3, 5, 7), np.uint8)
    made = from_arrays(*(LAYOUTS[layout](part) for part in (images[:10], images[10:15], images[15:])))
    assert np.array_equal(torch.cat([made.train, made.valid, made.test]).numpy(), images)
    assert not made.binary


def test_arrays_without_a_split_get_one_in_which_each_image_keeps_its_label():
    images = np.arange(50, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    made = from_arrays(images, train_labels=np.arange(50))
    assert [len(split) for split in (made.train, made.valid, made.test)] == [40, 5, 5]
    for split in ("train", "valid", "test"):
        assert getattr(made, split)[:, 0, 0, 0].tolist() == getattr(made, f"{split}_labels").tolist()
    assert sorted(torch.cat([made.train_labels, made.valid_labels, made.test_labels]).tolist()) == [
        *range(50)
    ]
    again = from_arrays(images, seed=1)
    assert not torch.equal(again.test, made.test)


@pytest.mark.parametrize("levels", [(False, True), (0, 255), (0.0, 1.0)])
def test_images_of_two_levels_are_binary(levels):
    made = from_arrays(np.array(levels)[RNG.integers(0, 2, (20, 4, 4))])
    assert made.binary
    assert made.train.unique().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((20, 5)), r"`train` must have shape .*, got \(20, 5\)"),
        (np.zeros((20, 4, 5, 6)), r"`train` must have shape .*, got \(20, 4, 5, 6\)"),
        (np.full((20, 5, 5), 2.0), r"floating point in \[0, 1\], got torch.float64 in \[2, 2\]"),
        (np.full((20, 5, 5), np.nan), "floating point in"),
        (np.full((20, 5, 5), 256), r"integers in \[0, 255\], .* got torch.int64 in \[256, 256\]"),
        (np.zeros((5, 5, 5)), "`train` must hold at least 10 images to split off `valid`, got 5"),
    ],
)
def test_arrays_that_are_no_images_are_clear_errors(array, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(array)


def test_labels_that_do_not_fit_are_a_clear_error():
    images = np.zeros((20, 5, 5), np.uint8)
    with pytest.raises(ValueError, match=r"`train_labels` must have shape \(20,\), one .*, got \(19,\)"):
        from_arrays(images, images, images, train_labels=np.zeros(19, int))
    for labels in (["cat"] * 20, np.full(20, 0.5)):
        with pytest.raises(ValueError, match="`train_labels` must be integers, got an array of"):
            from_arrays(images, train_labels=labels)


def write_images(folder, count, *, mode="L", size=(6, 4)):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new(mode, size, i if mode == "L" else (i, 0, 0)).save(folder / f"{i}.png")


def test_a_folder_of_images_is_split_and_its_subfolders_are_classes(tmp_path):
    for name in ("cat", "dog"):
        write_images(tmp_path / name, 15)
    made = load(str(tmp_path))
    assert made.shape == (1, 4, 6)
    assert [len(split) for split in (made.train, made.valid, made.test)] == [24, 3, 3]
    labels = torch.cat([made.train_labels, made.valid_labels, made.test_labels])
    assert torch.bincount(labels).tolist() == [15, 15]


def test_a_folder_that_is_split_already_stays_so(tmp_path):
    for split, count in (("train", 4), ("valid", 2), ("test", 3)):
        write_images(tmp_path / split, count, mode="RGB")
    made = from_folder(tmp_path)
    assert made.shape == (3, 4, 6)
    assert [len(split) for split in (made.train, made.valid, made.test)] == [4, 2, 3]
    assert made.train_labels is None
    assert from_folder(tmp_path, grey=True, size=(8, 8)).shape == (1, 8, 8)


def test_a_folder_of_grey_and_colour_is_colour(tmp_path):
    write_images(tmp_path / "a", 10)
    write_images(tmp_path / "b", 10, mode="RGB")
    assert from_folder(tmp_path).shape == (3, 4, 6)


def test_a_class_has_the_same_number_in_each_split(tmp_path):
    for split, classes in (("train", "abc"), ("valid", "ac"), ("test", "bc")):
        for name in classes:
            write_images(tmp_path / split / name, 2)
    made = from_folder(tmp_path)
    assert made.train_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert made.valid_labels.tolist() == [0, 0, 2, 2]
    assert made.test_labels.tolist() == [1, 1, 2, 2]
    write_images(tmp_path / "test" / "d", 1)
    with pytest.raises(
        ValueError, match=r"test must have classes of `train`, \['a', 'b', 'c'\], got \['d'\]"
    ):
        from_folder(tmp_path)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_drawn_in_the_alpha_channel_is_seen_on_white(tmp_path, mode):
    for i in range(10):
        alpha = Image.fromarray(np.diag(np.full(5, 255 - i)).astype(np.uint8))
        image = Image.new(mode, (5, 5), 0)
        image.putalpha(alpha)
        image.save(tmp_path / f"{i}.png")
    made = from_folder(tmp_path)
    assert made.shape == ((3 if mode == "RGBA" else 1), 5, 5)
    images = torch.cat([made.train, made.valid, made.test])
    assert sorted(images[:, 0, 0, 0].tolist()) == list(range(10))
    assert (images[:, 0, 0, 1] == 255).all()
    image = Image.new(mode, (5, 5), "white")
    image.putalpha(alpha)
    image.save(tmp_path / "white.png")
    with pytest.raises(ValueError, match=r"white\.png is white on transparent"):
        from_folder(tmp_path)


def test_grey_palettes_are_grey_and_hidden_files_no_images(tmp_path):
    levels = RNG.integers(0, 256, (12, 4, 6), np.uint8)
    for i, image in enumerate(levels):
        Image.fromarray(image).convert("P").save(tmp_path / f"{i:02}.png")
    (tmp_path / "._00.png").write_bytes(b"macOS")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / ".thumbnails" / "00.png").write_bytes(b"small")
    made = from_folder(tmp_path)
    images = torch.cat([made.train, made.valid, made.test])[:, 0]
    assert made.shape == (1, 4, 6)
    assert sorted(images.flatten(1).tolist()) == sorted(levels.reshape(12, -1).tolist())


def test_folders_that_cannot_be_read_are_clear_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no images"):
        from_folder(tmp_path)
    write_images(tmp_path, 12)
    write_images(tmp_path / "larger", 1, size=(9, 9))
    with pytest.raises(ValueError, match=r"one size unless `size` is given, got \(4, 6\) .* and \(9, 9\)"):
        from_folder(tmp_path)
    (tmp_path / "broken.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"broken\.png is not a complete image"):
        from_folder(tmp_path, size=(4, 4))


class Transformed(Dataset):
    """Items of a classification set: a Pillow image and its class."""

    def __len__(self):
        return 20

    def __getitem__(self, i):
        return Image.new("RGB", (5, 5), (i, i, i)), i % 4


def test_a_torch_dataset_is_read_once_into_bytes():
    made = from_dataset(Transformed(), name="mine")
    assert (made.name, made.shape, len(made.train)) == ("mine", (3, 5, 5), 16)
    assert (made.train[:, 0, 0, 0] % 4).tolist() == made.train_labels.tolist()
    bare = from_dataset(TensorDataset(torch.rand(12, 1, 4, 4)), TensorDataset(torch.rand(3, 1, 4, 4)))
    assert (len(bare.train), len(bare.valid), len(bare.test), bare.train_labels) == (11, 3, 1, None)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"image": torch.rand(4, 4)}, "must be images, or tuples that begin with an image .* got a dict"),
        ((torch.rand(4, 4), "cat"), "must have an integer as class beside their image, got a str, 'cat'"),
        ((torch.rand(4, 4), torch.eye(3)[1]), r"got a Tensor of shape \(3,\)"),
        ((torch.rand(4, 4), 0.5), "got a float, 0.5"),
    ],
)
def test_items_of_a_dataset_that_are_no_images_and_classes_are_clear_errors(item, message):
    class Items(Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, i):
            return item

    with pytest.raises(ValueError, match=message):
        from_dataset(Items())


def test_an_archive_of_arrays_is_loaded_by_its_path(tmp_path):
    images = RNG.integers(0, 256, (20, 8, 8), np.uint8)
    np.savez(tmp_path / "mine.npz", train=images, test=images[:5], train_labels=np.arange(20))
    made = load(str(tmp_path / "mine.npz"))
    assert (made.name, len(made.train), len(made.valid), len(made.test)) == ("mine", 18, 2, 5)
    np.savez(tmp_path / "other.npz", x=images)
    with pytest.raises(ValueError, match=r"must hold an array `train`, got \['x'\]"):
        load(str(tmp_path / "other.npz"))
    np.savez(tmp_path / "more.npz", train=images, y=images)
    with pytest.raises(ValueError, match=r"must hold no arrays but train, .* got \['y'\] too"):
        load(str(tmp_path / "more.npz"))
    np.savez(tmp_path / "names.npz", train=images, train_labels=["cat"] * 20)
    with pytest.raises(ValueError, match=r"names\.npz: `train_labels` must be integers"):
        load(str(tmp_path / "names.npz"))


def test_files_that_are_no_archives_of_numbers_are_clear_errors(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, train=np.zeros((20, 8, 8)))
    whole = path.read_bytes()
    np.savez(path, train=np.array([{}], object))
    objects = path.read_bytes()
    for content, message in (
        (b"junk", "not an .npz"),
        (whole[:-9], "not an .npz"),
        (objects, "Python objects"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as raised:
            load(str(path))
        assert "allow_pickle" not in str(raised.value)


def test_images_that_were_moved_are_found_by_the_folder_that_holds_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "new" / "cats", 12)
    np.savez(tmp_path / "new" / "mine.npz", train=np.zeros((12, 5, 5), np.uint8))
    for root in ("new", "new/cats"):
        for name in ("old/cats", "/old/cats"):
            assert load(name, root).shape == (1, 4, 6)
            assert data.own_source(name, root) == tmp_path / "new" / "cats"
    for root in ("new", "new/mine.npz"):
        assert load("old/mine.npz", root).shape == (1, 5, 5)
    for name, root in (("old/cats", None), ("mine.npz", None), ("mine.npz", "new/cats"), ("cats", "old")):
        with pytest.raises(FileNotFoundError, match="no such file or folder"):
            load(name, root)
    (tmp_path / "mine.zip").touch()
    with pytest.raises(ValueError, match="must be a folder of images"):
        load("mine.zip")
