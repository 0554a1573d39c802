"""Where does a signal change its regime? Daily returns of a share, 2004–2008, in the Fisher–Shannon plane.

The prices of Google come with matplotlib. As Vignat and Bercher (2003) did with electroencephalograms, each
window of the signal is one point in the plane; the analysis asks which adjoining windows differ most.
"""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook

from infoplane import Trajectory, windows
from infoplane.plot import course, plane

WIDTH, STEP = 120, 10


def returns() -> tuple[np.ndarray, np.ndarray]:
    """Days, and the logarithmic returns of the share on them in per cent."""
    with cbook.get_sample_data("goog.npz") as archive:
        prices = archive["price_data"]
    return prices["date"][1:], 100 * np.diff(np.log(prices["adj_close"]))


def sharpest_change(path: Trajectory) -> tuple[int, float]:
    """The row between the two adjoining windows whose entropies differ most, and by how many errors."""
    place = {int(start): point.entropy for start, point in zip(path.starts, path, strict=True)}
    differences = {
        stop: (place[stop] - before) / math.hypot(place[stop].standard_error, before.standard_error)
        for stop, before in ((start + path.width, h) for start, h in place.items())
        if stop in place
    }
    row = max(differences, key=lambda stop: abs(differences[stop]))
    return row, differences[row]


def main(picture: Path = Path("share_prices.png")) -> None:
    days, signal = returns()
    path = windows(signal, WIDTH, STEP)
    row, size = sharpest_change(path)
    print(f"sharpest change on {days[row]}: entropy by {size:+.1f} standard errors")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained")
    plane(trajectories=[path], time_label=f"window of {WIDTH} days", ax=left)
    course(path, times=days, ax=right)
    right.axvline(days[row], color="#D55E00", linewidth=1.2)
    right.annotate(
        f"{days[row]}: {size:+.1f} SE", (days[row], right.get_ylim()[1]), xytext=(-6, -4),
        textcoords="offset points", ha="right", va="top", color="#D55E00", fontsize="small",
    )  # fmt: skip
    right.set_title("each point stands for the 120 days before it", fontsize="small", loc="left")
    figure.savefig(picture, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
