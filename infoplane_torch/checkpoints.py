"""Files of a training run that a crash at any moment leaves whole, and what says which run they belong to."""

from __future__ import annotations

import ast
import difflib
import hashlib
import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from infoplane_torch.image_data import ImageData
from infoplane_torch.objective import Objective
from infoplane_torch.training_config import TrainingConfig

# What may differ when a run is resumed: how far it goes, where and by what means, but not what it computes.
_FREE = ("accelerator", "devices", "nodes", "compile", "cuda_graph", "checkpoint_seconds")


def data_identity(data: ImageData) -> str:
    """Say what images a run is trained and validated on: name and SHA-256.

    Parameters
    ----------
    data : ImageData
        The images.

    Examples
    --------
    >>> from infoplane_torch.checkpoints import data_identity
    >>> from infoplane_torch.data import load
    >>> data_identity(load("digits"))[:20]
    'digits, SHA-256 0d9b'
    """
    digest = hashlib.sha256()
    for images in (data.train, data.valid):
        digest.update(images.cpu().contiguous().numpy().data)
    return f"{data.name}, SHA-256 {digest.hexdigest()}"


def run_identity(vae: nn.Module, objective: Objective, data: str, config: TrainingConfig) -> dict[str, str]:
    """Say what a run consists of, to recognise it when it is resumed.

    Parameters
    ----------
    vae : nn.Module
        The model.
    objective : Objective
        What is maximised.
    data : str
        The images, by their `data_identity`.
    config : TrainingConfig
        All the rest. The number of epochs counts only where the schedule depends on it.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.checkpoints import data_identity, run_identity
    >>> from infoplane_torch.data import load
    >>> model, objective = presets.build(presets.vae(event_shape=(1, 8, 8)))
    >>> list(run_identity(model, objective, data_identity(load("digits")), TrainingConfig()))
    ['model', 'objective', 'data', 'configuration']
    """
    free = _FREE if config.schedule == "cosine" else (*_FREE, "epochs")
    fields = {name: value for name, value in config.to_dict().items() if name not in free}
    return {
        "model": repr(vae),
        "objective": repr(objective),
        "data": data,
        "configuration": repr(fields),
    }


def require_same_run(checkpoint: Mapping[str, Any], identity: Mapping[str, str], folder: Path) -> None:
    """Refuse a checkpoint that belongs to another run.

    Parameters
    ----------
    checkpoint : mapping
        Holds its own under "identity".
    identity : mapping of str to str
        That of the run that wants to go on.
    folder : Path
        Where it was found, for the message.

    Raises
    ------
    ValueError
        If a part differs; the message shows what of it, before and now. Data may have another name.

    Examples
    --------
    >>> from infoplane_torch.checkpoints import require_same_run
    >>> require_same_run({"identity": {"model": "VAE"}}, {"model": "VAE"}, Path("run"))
    """
    for part, now in identity.items():
        then = checkpoint["identity"][part]
        if then == now or (part == "data" and same_images(then, now)):
            continue
        was, is_now = _differences(then, now)
        raise ValueError(
            f"`run_dir` {folder} holds a run with another {part}: it was\n  {was}\nand is now\n  {is_now}\n"
            "name another folder, or start anew with `resume=False`"
        )


def same_images(one: str, other: str) -> bool:
    """Whether two sets of images are the same, whatever they are called.

    Parameters
    ----------
    one, other : str
        Their `data_identity`.

    Examples
    --------
    >>> from infoplane_torch.checkpoints import same_images
    >>> same_images("cats, SHA-256 0d9b", "animals, SHA-256 0d9b")
    True
    """
    return one.rpartition(" ")[2] == other.rpartition(" ")[2]


def _differences(then: str, now: str) -> tuple[str, str]:
    """What differs of two descriptions: fields of a configuration, or lines of a module."""
    try:
        fields = ast.literal_eval(then), ast.literal_eval(now)
    except (ValueError, SyntaxError):
        fields = None, None
    old, new = fields
    if isinstance(old, dict) and isinstance(new, dict):
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        one, other = (", ".join(f"{n}={f[n]!r}" for n in names if n in f) for f in (old, new))
        return one or "none of these options", other or "none of these options"
    lines = list(difflib.ndiff(then.splitlines(), now.splitlines()))
    removed, added = ("; ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return removed or "without what is new", added or "without it"


def read(path: Path) -> dict[str, Any]:
    """Read the checkpoint of a run.

    Parameters
    ----------
    path : Path
        Its ``last.pt``.

    Returns
    -------
    dict
        What `infoplane_torch.training_run.TrainingRun` saves, on the CPU.

    Raises
    ------
    ValueError
        If the file is damaged, or no checkpoint.

    Examples
    --------
    >>> import tempfile
    >>> from infoplane_torch.checkpoints import read, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save({"model": {}, "identity": {}}, Path(folder) / "last.pt")
    ...     sorted(read(Path(folder) / "last.pt"))
    ['identity', 'model']
    """
    with path.open("rb") as file:
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{path} is damaged, or no checkpoint: {reason}") from error
    if not isinstance(content, dict) or not {"model", "identity"} <= set(content):
        raise ValueError(f"{path} is no checkpoint of a run")
    return content


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values to a file, at once.

    Parameters
    ----------
    content : mapping
        What `torch.load` gives back with ``weights_only=True``.
    path : Path
        The file.

    Examples
    --------
    >>> import tempfile
    >>> from infoplane_torch.checkpoints import save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save({"epoch": 3}, Path(folder) / "last.pt")
    ...     torch.load(Path(folder) / "last.pt", weights_only=True)
    {'epoch': 3}
    """
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    write_atomically(path, buffer.getvalue())


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file at once: whoever reads `path`, after a crash too, finds the old content or the new.

    Parameters
    ----------
    path : Path
        The file.
    content : bytes
        What it shall hold.

    Examples
    --------
    >>> import tempfile
    >>> from infoplane_torch.checkpoints import write_atomically
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "note", b"all or nothing")
    ...     [path.name for path in Path(folder).iterdir()]
    ['note']
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # so that the new name survives a power cut
        finally:
            os.close(folder)
