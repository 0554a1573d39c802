"""The configuration of a run, as the JSON beside its weights holds it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import infoplane_torch.presets as presets
from infoplane_torch.training_config import TrainingConfig


@dataclass(frozen=True)
class RunConfig:
    """All that decides a run, apart from the files of the data: what ``config.json`` holds.

    Parameters
    ----------
    data : str
        Name of a data set, or path of one's own images, as `infoplane_torch.data.load` takes it; what is kept
        beside the weights is the absolute path.
    data_dir : str or None
        Folder with the files of a named data set.
    model : ModelConfig
        The model and its objective; `event_shape` is that of the data.
    training : TrainingConfig
        How it is trained; its seed decides the initial weights too.

    Examples
    --------
    >>> import json
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.run_config import RunConfig
    >>> config = RunConfig("digits", None, presets.vae(event_shape=(1, 8, 8)), TrainingConfig(epochs=3))
    >>> RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    True
    """

    data: str
    data_dir: str | None
    model: presets.ModelConfig
    training: TrainingConfig

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, ready for JSON."""
        return {
            "data": self.data,
            "data_dir": self.data_dir,
            "model": self.model.to_dict(),
            "training": self.training.to_dict(),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> RunConfig:
        """Read the configuration that `to_dict` wrote.

        Parameters
        ----------
        fields : mapping of str to object
            What `to_dict` gave, perhaps by way of JSON.

        Raises
        ------
        ValueError
            If a field is missing, unknown or out of its range.
        """
        try:
            require_types(cls, {"data": fields["data"], "data_dir": fields["data_dir"]})
            require_types(presets.ModelConfig, fields["model"])
            require_types(TrainingConfig, fields["training"])
            return cls(
                fields["data"],
                fields["data_dir"],
                presets.ModelConfig.from_dict(fields["model"]),
                TrainingConfig(**fields["training"]),
            )
        except (KeyError, TypeError) as error:
            missing = f"no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"`fields` must be those that `to_dict` wrote: {missing}") from error


def require_types(config: type, fields: Mapping[str, Any]) -> None:
    """Hold plain values of a file against the types of a configuration's fields.

    Parameters
    ----------
    config : type
        A dataclass.
    fields : mapping of str to object
        Numbers, words and lists by the names of its fields; it may lack some, and have others.

    Raises
    ------
    TypeError
        If a value is of another type.

    Examples
    --------
    >>> from infoplane_torch.run_config import require_types
    >>> require_types(TrainingConfig, {"epochs": "3"})
    Traceback (most recent call last):
        ...
    TypeError: `epochs` must be int, got '3'
    """
    for name, wanted in get_type_hints(config).items():
        if name not in fields or get_origin(wanted) is ClassVar:
            continue
        allowed = get_args(wanted) if get_origin(wanted) is UnionType else (wanted,)
        if not any(_is_of(fields[name], kind) for kind in allowed):
            shown = wanted.__name__ if isinstance(wanted, type) else str(wanted).replace("typing.", "")
            raise TypeError(f"`{name}` must be {shown}, got {fields[name]!r}")


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a plain value is of a type: JSON has lists for tuples, and whole numbers for real ones."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_is_of(one, get_args(kind)[0]) for one in value)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if dataclasses.is_dataclass(kind):
        return isinstance(value, dict)
    return isinstance(value, kind)
