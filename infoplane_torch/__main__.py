"""The command line: ``python -m infoplane_torch train | sweep | evaluate | plane | sample | reconstruct``."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

import infoplane_torch.commands as commands
from infoplane_torch.commands import Evaluate, Plane, Reconstruct, Sample, Train
from infoplane_torch.runs import preset, preset_names
from infoplane_torch.sweeps import Sweep, run_sweep
from infoplane_torch.training import DivergenceError, FolderInUseError

_DESCRIPTION = """Train auto-encoders that are controlled in the Fisher–Shannon plane, and look at what they
have become. A run is a folder with its configuration and its weights: "train --out RUN" makes it, "sweep"
makes several at once, the other commands take it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the program's name; by default that of this process.

    Returns
    -------
    int
        0, or 2 if something was wrong; one line on the standard error says what.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parsed(arguments)
        (commands.RUN | {Sweep: run_sweep})[type(options)](options)
    except (ValueError, OSError, DivergenceError, FolderInUseError) as error:
        message = "; ".join(line.strip() for line in str(error).splitlines())
        print(f"infoplane_torch: error: {message}", file=sys.stderr)
        return 2
    return 0


def _parsed(arguments: list[str]) -> Any:
    """Read the options; those of the model have the defaults of the preset."""
    first = argparse.ArgumentParser(
        prog="python -m infoplane_torch train", add_help=False, allow_abbrev=False
    )
    first.add_argument("--preset", choices=preset_names(), default="vae")
    name = first.parse_known_args(arguments)[0].preset
    train, sweep = Train(preset=name, model=preset(name)), Sweep(preset=name, model=preset(name))
    commands_by_name = (
        Annotated[Train, tyro.conf.subcommand("train", default=train)]
        | Annotated[Sweep, tyro.conf.subcommand("sweep", default=sweep)]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Plane, tyro.conf.subcommand("plane")]
        | Annotated[Sample, tyro.conf.subcommand("sample")]
        | Annotated[Reconstruct, tyro.conf.subcommand("reconstruct")]
    )
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return tyro.cli(
                commands_by_name, args=arguments, prog="python -m infoplane_torch", description=_DESCRIPTION
            )
    except SystemExit as stop:
        if (refused := _refused(stop)) is not None:
            raise refused from None
        sys.stderr.write(shown.getvalue())
        raise


def _refused(stop: SystemExit) -> ValueError | None:
    """What a configuration of ours has said of its fields, if that is why the options were not taken."""
    error: BaseException | None = stop
    while error is not None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        raised_in = "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")
        if isinstance(error, ValueError) and raised_in.startswith("infoplane"):
            return error
        error = error.__cause__ or error.__context__
    return None


if __name__ == "__main__":
    sys.exit(main())
