"""Draw some distributions, and one that diffuses, in the Fisher–Shannon plane: the picture of the README."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from infoplane import fisher_shannon
from infoplane.distributions import GeneralizedNormal, StudentT
from infoplane.plane import reference_curve
from infoplane.plot import plane


def main(path: Path = Path("plane.png"), n: int = 20_000) -> None:
    rng = np.random.default_rng(0)
    modes = 0.3 * rng.standard_normal(n) + rng.choice([-1.0, 1.0], n)
    samples = {
        "normal, σ = 1": rng.standard_normal(n),
        "normal, σ = 2": 2 * rng.standard_normal(n),
        "logistic": rng.logistic(size=n),
        "Student t, ν = 3": rng.standard_t(3, n),
        "gamma, k = 4": rng.gamma(4.0, 0.25, n),
        "two modes": modes,
    }
    noise = rng.standard_normal(n)
    diffusing = [fisher_shannon(modes + sigma * noise) for sigma in np.linspace(0, 2, 15)]
    curves = {
        "Student t": reference_curve(StudentT, [2.2, 2.5, 3, 4, 6, 10, 20, 50]),
        "generalised normal": reference_curve(GeneralizedNormal, np.geomspace(0.8, 6, 30)),
    }
    axes = plane(
        {name: fisher_shannon(x) for name, x in samples.items()},
        trajectories={"two modes + noise": diffusing},
        curves=curves,
        time_label="step of the diffusion",
    )
    axes.figure.savefig(path, dpi=110)
    plt.close(axes.figure)


if __name__ == "__main__":
    main()
