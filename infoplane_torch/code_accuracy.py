"""How well classes can be told from codes: linear probe and nearest neighbours, on images not seen before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from infoplane_torch.image_batches import batches
from infoplane_torch.vae import VAE, code_center, evaluating

Classifier = Literal["linear", "knn"]


@dataclass(frozen=True)
class Accuracy:
    """Share of test images whose class was told from the code.

    Attributes
    ----------
    correct : ndarray of shape (n,)
        Which of them; for a paired comparison of two models on the same images.
    classifier : {"linear", "knn"}
        What told.
    """

    correct: np.ndarray
    classifier: Classifier

    @property
    def value(self) -> float:
        """The accuracy p, in [0, 1]."""
        return float(self.correct.mean())

    @property
    def n(self) -> int:
        """Number of test images."""
        return int(self.correct.size)

    @property
    def standard_error(self) -> float:
        """√(p (1 − p)/n), over test images: the noise of the training is no part of it."""
        return math.sqrt(self.value * (1 - self.value) / self.n)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson's interval of the binomial share, which stays inside [0, 1] and is no point at p = 1.

        Parameters
        ----------
        level : float, default 0.95
            Probability that it is meant to cover the truth, in (0, 1).

        Raises
        ------
        ValueError
            If `level` is out of range.

        References
        ----------
        E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209–212.
        """
        if not 0 < level < 1:
            raise ValueError(f"`level` must lie in (0, 1), got {level!r}")
        z2 = NormalDist().inv_cdf(0.5 + level / 2) ** 2
        center = self.value + z2 / (2 * self.n)
        half = math.sqrt(z2 * (self.standard_error**2 + z2 / (4 * self.n**2)))
        return (center - half) / (1 + z2 / self.n), (center + half) / (1 + z2 / self.n)

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.standard_error:.4f} ({self.classifier}, n={self.n})"


def code_accuracy(
    vae: VAE,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    classifier: Classifier = "linear",
    neighbors: int = 5,
    batch_size: int = 500,
) -> Accuracy:
    """Accuracy with which classes are told from the codes of images: what a code is worth for classification.

    Parameters
    ----------
    vae : VAE
        The model; an image's code is its posterior mean or, of a flow, its `center`.
    train : tuple of Tensor
        Images (n, *event_shape) and their classes (n,), integers, from which the classifier learns.
    test : tuple of Tensor
        Other images and their classes, on which it is tried.
    classifier : {"linear", "knn"}, default "linear"
        Multinomial logistic regression on codes standardised by the training codes (scikit-learn's, C = 1),
        or the majority among the nearest training codes.
    neighbors : int, default 5
        How many of those.
    batch_size : int, default 500
        Images at a time.

    Returns
    -------
    Accuracy

    Raises
    ------
    ValueError
        If images and classes do not match, there is but one class, or an option is unknown.

    Notes
    -----
    The classifier, and the standardisation, see no test image. "linear" asks whether classes are apart by
    planes, "knn" whether they are apart at all; distances there are those of the codes as they are, idle
    dimensions included. *When not to use it:* to compare posteriors by small differences: at n = 10,000 and
    p = 0.97 the standard error is 0.0017; compare the ``correct`` of both on the same images.

    References
    ----------
    Zheng et al., "Understanding VAEs in Fisher-Shannon Plane", section 5, which relates entropy power to
    classification. G. Alain, Y. Bengio, "Understanding intermediate layers using linear classifier probes"
    (2017).

    Examples
    --------
    >>> import torch
    >>> from infoplane_torch import presets
    >>> from infoplane_torch.evaluation import code_accuracy
    >>> model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2))
    >>> y = torch.arange(40) % 2
    >>> x = y.float().reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8)  # black or white
    >>> code_accuracy(model, (x[:20], y[:20]), (x[20:], y[20:])).value
    1.0
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if classifier not in get_args(Classifier):
        raise ValueError(f"`classifier` must be one of {get_args(Classifier)}, got {classifier!r}")
    classes, truth = _classes("train", *train), _classes("test", *test)
    if np.unique(classes).size < 2:
        raise ValueError(f"`train` must hold at least two classes, got {np.unique(classes).tolist()}")
    if not 1 <= neighbors <= classes.size:
        raise ValueError(f"`neighbors` must lie between 1 and {classes.size}, got {neighbors}")
    if classifier == "linear":
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    else:
        model = KNeighborsClassifier(neighbors)
    with evaluating(vae, seed=0):
        codes, others = (
            torch.cat([code_center(vae.encode(batch)) for batch in batches(vae, images, batch_size)])
            .cpu()
            .double()
            .numpy()
            for images, _ in (train, test)
        )
    return Accuracy(model.fit(codes, classes).predict(others) == truth, classifier)


def _classes(name: str, images: Tensor, classes: Tensor | None) -> np.ndarray:
    if classes is None:
        raise ValueError(f"`{name}` must hold images and their classes, got None: the data have no labels")
    if classes.ndim != 1 or len(classes) != len(images):
        raise ValueError(
            f"`{name}` must hold one class for each image, got {tuple(classes.shape)} for "
            f"{len(images)} images"
        )
    return classes.cpu().numpy()
