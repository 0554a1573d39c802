"""The tables and figures of "Understanding VAEs in Fisher-Shannon Plane", one command each.

    python -m examples.paper table1 --quick           # minutes on two cores
    python -m examples.paper table1 --short           # an evening on one core
    python -m examples.paper table1 --budget 8        # the full protocol for eight hours; again to go on
    python -m examples.paper table1 --best            # what the parts of this package reach together
    python -m examples.paper figure1 | figure2 | figure3 | claims | constraint

Run from the root of a clone. Everything can be stopped at any time and goes on where it was.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from examples.paper.claims import claims
from examples.paper.constraint import constraint
from examples.paper.figures import figure1, figure2, figure3
from examples.paper.study import FULL, QUICK, SHORT, OutOfTimeError, Protocol, Study
from examples.paper.table1 import table1


@dataclass(frozen=True)
class Options:
    """What to reproduce."""

    what: Annotated[
        Literal["table1", "figure1", "figure2", "figure3", "claims", "constraint"], tyro.conf.Positional
    ]
    """The table, a figure, the claims of the text, or how well F is met."""
    quick: bool = False
    """A small protocol of minutes, whose numbers say nothing about the paper."""
    short: bool = False
    """All images, but an eighth of the epochs, one seed and 1,000 test images: hours on one core."""
    best: bool = False
    """Of table1: combinations that the paper does not have."""
    only: tuple[str, ...] = ()
    """Of table1: rows to go on with, by their names; the others stand there as far as they are."""
    budget: float = float("inf")
    """Hours after which nothing new is begun."""
    epochs: int | None = None
    """Another number of epochs than the protocol's, a quarter of them for the warm-up."""
    data: str | None = None
    """Another data set than the protocol's: digits needs no download."""
    data_dir: Path | None = None
    """Folder with the files of the data; otherwise $INFOPLANE_DATA, otherwise they are downloaded."""
    out: Path = Path("runs/paper")
    """Where to keep runs, tables and figures."""
    device: str = "auto"
    """cpu or cuda; auto takes a GPU if there is one."""


def main(options: Options) -> None:
    name, protocol = (
        ("quick", QUICK) if options.quick else ("short", SHORT) if options.short else ("full", FULL)
    )
    if options.data:
        protocol = dataclasses.replace(protocol, data=options.data)
    folder = options.out / name / protocol.data
    if options.epochs:
        training = dataclasses.replace(
            protocol.training, epochs=options.epochs, warmup_epochs=options.epochs // 4
        )
        protocol, folder = (
            dataclasses.replace(protocol, training=training),
            folder / f"{options.epochs}-epochs",
        )
    deadline = time.time() + 3600 * options.budget
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    study = Study(protocol, folder, options.out / "runs", options.data_dir, deadline, device)
    try:
        if options.what == "table1":
            text = table1(study, best=options.best, only=options.only)
        elif options.what == "figure3":
            text = figure3(study, _house_numbers(study, options))
        else:
            made = {"figure1": figure1, "figure2": figure2, "claims": claims, "constraint": constraint}
            text = made[options.what](study)
    except OutOfTimeError as error:
        text = f"Stopped by the budget at {error}; the same command goes on.\n"
    print(f"\n{text}\nin {folder}")


def _house_numbers(study: Study, options: Options) -> Study | None:
    """The same with colour images, or nothing where there are none."""
    if options.data:
        return None
    training = dataclasses.replace(study.protocol.training, binarize=False)
    protocol: Protocol = dataclasses.replace(study.protocol, data="svhn", training=training)
    return dataclasses.replace(study, protocol=protocol, folder=study.folder.parent / "svhn")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
