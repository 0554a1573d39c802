"""The command `infoplane`: measure the columns of a file."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np

from infoplane.errors import InfoplaneWarning
from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane.measures import fisher_shannon
from infoplane.tabular import Columns, TextFormat, UnreadableFileError, read_columns
from infoplane.trajectory import Trajectory, windows

try:
    import tyro
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
except ImportError as error:  # pragma: no cover
    sys.exit(f'infoplane: the command needs {error.name}: pip install "infoplane[cli]"')

_USAGE, _UNMEASURED = 2, 1
# The methods that measure both H and J; tyro offers these.
Method = Literal["auto", "gaussian", "knn", "kde", "logspline", "bound"]
_PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Measure:
    """Entropy, entropy power and Fisher information of the columns of a file, with standard errors.

    Rows with missing values are left out and counted. Exit status: 0 if everything was measured, 1 if a
    column was not, 2 if the file or an option is bad.

    Parameters
    ----------
    file : Path
        A .csv, .tsv, .txt, .npy, .npz or .parquet file.
    columns : tuple of str, default ()
        Columns to measure; all that hold numbers by default.
    jointly : bool, default False
        Take the columns as one vector instead of one by one.
    method : {"auto", "gaussian", "knn", "kde", "logspline", "bound"}, default "auto"
        How; logspline is for single columns, bound gives H from above and J from below.
    window : int, optional
        Rows of a window: measure the trajectory of a signal instead of all rows at once.
    step : int, optional
        Rows from one window to the next; the width of a window by default.
    ties : {"raise", "dither"}, default "raise"
        What becomes of rounded numbers: an error, or noise as wide as the rounding step.
    seed : int, default 0
        Of that noise.
    level : float, default 0.95
        Confidence level of the intervals in JSON and of the error bars of the plot.
    plot : Path, optional
        Draw the Fisher–Shannon plane to this .png, .svg or .pdf.
    json : bool, default False
        Print JSON instead of a table.
    separator : str, optional
        Between the fields of a line of text; found out by default.
    decimal : str, optional
        Decimal mark of a file of text, a point or comma; found out by default.
    comment : str, optional
        What begins a comment; by default "#", in .csv and .tsv only above the table.
    header : {"auto", "yes", "no"}, default "auto"
        Whether the first line of text holds the names; "auto": unless it holds nothing but numbers.
    encoding : str, default "utf-8-sig"
        Of a file of text.

    Examples
    --------
    >>> from pathlib import Path
    >>> from infoplane.cli import Measure
    >>> Measure(Path("data.csv")).method
    'auto'
    """

    file: Annotated[Path, tyro.conf.Positional]
    columns: tuple[str, ...] = ()
    jointly: bool = False
    method: Method = "auto"
    window: int | None = None
    step: int | None = None
    ties: Literal["raise", "dither"] = "raise"
    seed: int = 0
    level: float = 0.95
    plot: Path | None = None
    json: bool = False
    separator: str | None = None
    decimal: str | None = None
    comment: str | None = None
    header: Literal["auto", "yes", "no"] = "auto"
    encoding: str = "utf-8-sig"


@dataclass
class _Result:
    """What became of a column, or of several as one vector: a point, a trajectory or an error."""

    columns: tuple[str, ...]
    missing: int
    found: FisherShannonPoint | Trajectory | None = None
    error: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return ", ".join(self.columns)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those after the name of the command; by default those of the process.

    Examples
    --------
    >>> from infoplane.cli import main
    >>> main(["measure", "no-such.csv"])
    Traceback (most recent call last):
    SystemExit: 2
    """
    command = tyro.extras.subcommand_cli_from_dict(
        {"measure": Measure}, args=arguments, prog="infoplane", description=__doc__
    )
    try:
        sys.exit(run(command))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_UNMEASURED)


def run(options: Measure) -> int:
    """Measure a file, print what was found, and return the exit status.

    Parameters
    ----------
    options : Measure
        What to do.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from infoplane.cli import Measure, run
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "x.npy"
    ...     np.save(file, np.random.default_rng(0).standard_normal(500))
    ...     status = run(Measure(file, json=True))  # doctest: +ELLIPSIS
    {
      "file": ...
    >>> status
    0
    """
    try:
        _check(options)
        columns = read_columns(options.file, options.columns, _text_format(options))
    except (UnreadableFileError, ValueError) as error:
        _say(f"infoplane: {error}", Console(stderr=True))
        return _USAGE
    for note in columns.notes:
        _say(f"{options.file.name}: {note}", Console(stderr=True))
    parts = [tuple(columns.values)] if options.jointly else [(name,) for name in columns.values]
    results = [_measured(columns, names, options) for names in parts]
    if options.json:
        print(json.dumps(_report(options, columns, results), indent=2, allow_nan=False))
    else:
        _print(options, columns, results)
    if options.plot and any(result.found for result in results):
        _draw(options.plot, options.level, results)
    return _UNMEASURED if any(result.error for result in results) else 0


def _check(options: Measure) -> None:
    if options.method not in get_args(Method):
        raise ValueError(f"`--method` must be one of {get_args(Method)}, got {options.method!r}")
    for name in ("window", "step"):
        rows = getattr(options, name)
        if rows is not None and rows < 1:
            raise ValueError(f"`--{name}` must be at least 1, got {rows}")
    if options.step is not None and options.window is None:
        raise ValueError("`--step` needs `--window`")
    if not 0 < options.level < 1:
        raise ValueError(f"`--level` must lie in (0, 1), got {options.level}")
    if options.plot and options.plot.suffix.lower() not in _PICTURES:
        raise ValueError(f"`--plot` must end in .png, .svg or .pdf, got {options.plot}")
    if options.plot and not os.access(options.plot.parent, os.W_OK | os.X_OK):
        raise ValueError(f"`--plot` must lie in a folder that can be written to, got {options.plot}")


def _text_format(options: Measure) -> TextFormat:
    return TextFormat(
        separator={"\\t": "\t", "tab": "\t"}.get(options.separator or "", options.separator),
        decimal=options.decimal,
        comment=options.comment,
        header=options.header,
        encoding=options.encoding,
    )


def _measured(columns: Columns, names: tuple[str, ...], options: Measure) -> _Result:
    rows = np.column_stack([columns.values[name] for name in names])
    present = np.isfinite(rows).all(axis=1)
    result = _Result(names, int(np.count_nonzero(~present)))
    if not present.any():
        result.error = "all its values are missing" if len(names) == 1 else "every row lacks a value"
        return result
    given: dict[str, Any] = {"method": options.method, "ties": options.ties}
    if options.ties == "dither":
        given["rng"] = options.seed
    with _collected(result.notes):
        try:
            if options.window is None:
                result.found = fisher_shannon(rows[present], **given)
            else:
                rows[~present] = np.nan  # infinities too
                result.found = windows(
                    rows, options.window, options.step, jointly=True, degenerate="nan", **given
                )
        except (ValueError, OverflowError) as error:
            result.error = _worded(str(error), names)
    result.notes[:] = dict.fromkeys(_worded(note, names) for note in result.notes)
    if isinstance(result.found, Trajectory) and (left := len(rows) - int(result.found.stops[-1])):
        result.notes.append(f"the last {left:,} row{'s' * (left > 1)} fill no window")
    return result


def _worded(message: str, names: tuple[str, ...]) -> str:
    """A message of the library in the words of the command: columns by their names, options as given here."""
    for pattern, words in (
        (r"; if rows are variables, pass `[^`]*`|, and interval\([^)]*\) allows for it", ""),
        (r" with an `rng`| with `np\.unique[^`]*`", ""),
        (r'\b(ties|method)="(\w+)"', r"`--\1 \2`"),
        (r"`(width|step)`", lambda found: "`--window`" if found[1] == "width" else "`--step`"),
        (r"column (\d+) of `x`", lambda found: f"`{names[int(found[1])]}`"),
        (r"column\(s\) \[([\d, ]+)\]", lambda found: ", ".join(names[int(c)] for c in found[1].split(","))),
        (r"`x`", lambda _: f"`{', '.join(names)}`"),
    ):
        message = re.sub(pattern, words, message)
    return message


@contextmanager
def _collected(notes: list[str]) -> Iterator[None]:
    """Take down what is warned of in the block, each once; other warnings go where they would."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InfoplaneWarning)
        yield
    for warning in caught:
        if not issubclass(warning.category, InfoplaneWarning):
            warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
        elif str(warning.message) not in notes:
            notes.append(str(warning.message))


def _print(options: Measure, columns: Columns, results: list[_Result]) -> None:
    title = f"{options.file.name}: {len(columns):,} rows"
    if options.window is not None:
        title += f", windows of {options.window:,}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("columns" if options.jointly else "column", no_wrap=True)
    for heading in ("rows", "H, nats", "N", "tr J", "N·tr J/d"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("method", style="dim", no_wrap=True)
    for result in results:
        for first, row in enumerate(_rows(result)):
            table.add_row(escape(result.name) if not first else "", *row)
    console = Console()
    # Numbers are never cut: on a narrow terminal lines go on below.
    needed = console.measure(table, options=console.options.update(width=10_000)).maximum
    console = Console(width=max(console.width, needed))
    console.print(table, soft_wrap=True)
    for result in results:
        if result.missing:
            _say(f"\n{result.name}: {result.missing:,} rows with missing values left out", console)
    if columns.left_out:
        _say(f"\nnot numbers, left out: {', '.join(columns.left_out)}", console)
    for result in results:
        for note in result.notes:
            _say(f"\n{result.name}: {note}", console, style="yellow")
        if result.error:
            _say(f"\n{result.name} was not measured: {result.error}", console, style="red")


def _say(text: str, console: Console, style: str | None = None) -> None:
    """Print a sentence as it is, in one line, whatever the width of the terminal."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _rows(result: _Result) -> Iterator[tuple[str, ...]]:
    """Cells after the name: one row a point, the windows numbered by their rows."""
    if isinstance(result.found, Trajectory):
        for start, stop, point in zip(result.found.starts, result.found.stops, result.found, strict=True):
            yield f"{start + 1}–{stop}", *_cells(point)
    elif result.found is not None:
        yield f"{result.found.n:,}", *_cells(result.found)
    else:
        yield "", "–", "–", "–", "–", "not measured"


def _cells(point: FisherShannonPoint) -> tuple[str, ...]:
    if not math.isfinite(point.product):
        return "–", "–", "–", "–", "no density"
    estimates = (point.entropy, point.entropy_power, point.fisher_trace, point.product)
    return *(str(estimate).partition(" (")[0] for estimate in estimates), point.product.method


def _report(options: Measure, columns: Columns, results: list[_Result]) -> dict[str, Any]:
    return {
        "file": str(options.file),
        "rows": len(columns),
        "left_out": list(columns.left_out),
        "notes": list(columns.notes),
        "results": [
            {
                "columns": list(result.columns),
                "missing": result.missing,
                **_figures(result.found, options.level),
                "warnings": result.notes,
                "error": result.error,
            }
            for result in results
        ],
    }


def _figures(found: FisherShannonPoint | Trajectory | None, level: float) -> dict[str, Any]:
    if found is None:
        return {}
    if isinstance(found, Trajectory):
        return {
            "windows": [
                {"start": int(start), "stop": int(stop), **_figures(point, level)}
                for start, stop, point in zip(found.starts, found.stops, found, strict=True)
            ]
        }
    return {
        "n": found.n,
        "d": found.d,
        "entropy": _number(found.entropy, level),
        "entropy_power": _number(found.entropy_power, level),
        "fisher_trace": _number(found.fisher_trace, level),
        "fisher_information": _finite(found.fisher_information.tolist()),
        "product": _number(found.product, level),
    }


def _number(estimate: Estimate, level: float) -> dict[str, Any]:
    return {
        "value": _finite(float(estimate)),
        "standard_error": _finite(estimate.standard_error),
        "interval": _finite(list(estimate.interval(level))),
        "method": estimate.method,
    }


def _finite(value: Any) -> Any:
    """JSON knows neither NaN nor infinity."""
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return value if math.isfinite(value) else None


def _draw(path: Path, level: float, results: list[_Result]) -> None:
    from matplotlib.figure import Figure

    from infoplane.plot import plane

    points = {r.name: r.found for r in results if isinstance(r.found, FisherShannonPoint)}
    paths = {r.name: r.found for r in results if isinstance(r.found, Trajectory)}
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    plane(points, trajectories=paths, time_label="window", level=level, ax=figure.subplots())
    figure.savefig(path, dpi=150)
    _say(f"drawn: {path}", Console(stderr=True))
