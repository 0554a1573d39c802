"""Random distributions: families with random parameters, and what is composed of them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from infoplane.distributions import (
    Beta,
    Exponential,
    Gamma,
    GaussianMixture,
    GeneralizedNormal,
    Gumbel,
    Laplace,
    Logistic,
    LogNormal,
    Mixture,
    MultivariateNormal,
    MultivariateT,
    Normal,
    Product,
    StudentT,
    Uniform,
    Weibull,
)

# Of Monte Carlo: the laws allow for its error, so few do.
DRAWS = 3000


def between(low, high):
    """Numbers whose logarithm is spread evenly, so that shapes of all kinds occur."""
    return st.floats(np.log(low), np.log(high)).map(np.exp)


def either(*options):
    """One of these, each as often; `one_of` would count the options of the options."""
    return st.sampled_from(options).flatmap(lambda option: option)


places, sizes = st.floats(-5, 5), between(0.2, 5)

normals = st.builds(Normal, places, sizes)
# One landmark each, which makes sums cheap.
central = st.one_of(
    normals,
    st.builds(Laplace, places, sizes),
    st.builds(Logistic, places, sizes),
    st.builds(StudentT, between(0.8, 30), places, sizes),
    st.builds(GeneralizedNormal, between(0.75, 6), places, sizes),
    st.builds(Gumbel, places, sizes),
)
edged = st.one_of(
    st.builds(Gamma, between(2.6, 20), places, sizes),
    st.builds(Weibull, between(2.5, 8), places, sizes),
    st.builds(LogNormal, between(0.2, 1), places, sizes),
    st.builds(Beta, between(2.6, 9), between(2.6, 9), places, sizes),
)
rough = st.one_of(
    st.builds(Uniform, places, sizes),
    st.builds(Exponential, places, sizes),
    st.builds(Gamma, between(0.5, 2), places, sizes),
    st.builds(Beta, between(0.6, 2), between(0.6, 2), places, sizes),
)
mirrored = st.builds(lambda x, a: -a * x, edged, sizes)
simple = st.one_of(central, edged, mirrored)
# Not normal, nor nearly.
far_from_normal = st.one_of(
    st.builds(Laplace, places, sizes),
    st.builds(Logistic, places, sizes),
    st.builds(StudentT, between(2.5, 10), places, sizes),
    st.builds(GeneralizedNormal, between(0.75, 1.5), places, sizes),
    st.builds(GeneralizedNormal, between(2.7, 6), places, sizes),
    st.builds(Gumbel, places, sizes),
    st.builds(Gamma, between(2.6, 20), places, sizes),
    st.builds(LogNormal, between(0.2, 1), places, sizes),
)


def weights(count):
    return st.lists(st.floats(0.1, 1), min_size=count, max_size=count)


def several(parts, least=2, most=3):
    return st.integers(least, most).flatmap(lambda k: st.lists(parts, min_size=k, max_size=k))


def mixtures(parts):
    return several(parts).flatmap(
        lambda chosen: weights(len(chosen)).map(lambda w: Mixture(chosen, w, draws=DRAWS))
    )


def maps(d):
    """Well-conditioned matrices in general position: a rotation, unequal scaling, and a rotation."""

    def build(seed, scales):
        one, other = np.linalg.qr(np.random.default_rng(seed).standard_normal((2, d, d)))[0]
        return one @ np.diag(scales) @ other

    return st.builds(build, st.integers(0, 2**32 - 1), st.lists(between(0.3, 3), min_size=d, max_size=d))


def scatters(d):
    return maps(d).map(lambda a: a @ a.T)


def vectors_of(d, number=places):
    return st.lists(number, min_size=d, max_size=d)


def normals_in(d):
    return st.builds(MultivariateNormal, vectors_of(d), scatters(d))


def students_in(d):
    return st.builds(MultivariateT, vectors_of(d), scatters(d), between(0.8, 30))


def normal_mixtures(d):
    """Whose components are of similar size, which keeps the grids small."""
    return st.integers(2, 3).flatmap(
        lambda k: st.builds(
            lambda w, m, c: GaussianMixture(w, m, c, draws=DRAWS),
            weights(k),
            st.lists(vectors_of(d, st.floats(-3, 3)), min_size=k, max_size=k),
            st.lists(scatters(d), min_size=k, max_size=k),
        )
    )


def products(parts, d):
    return st.lists(parts, min_size=d, max_size=d).map(lambda chosen: Product(*chosen))


def mapped(parts, d):
    return st.builds(lambda a, x, b: a @ x + b, maps(d), parts, vectors_of(d))


lines = either(simple, mixtures(simple), normal_mixtures(1))
dimensions = st.integers(2, 3)
# Components of mixtures by Monte Carlo: squared scores need a variance for it to have an error.
tame = st.one_of(
    normals,
    st.builds(Laplace, places, sizes),
    st.builds(Logistic, places, sizes),
    st.builds(StudentT, between(1, 30), places, sizes),
    st.builds(Gamma, between(5, 20), places, sizes),
)
composed = dimensions.flatmap(
    lambda d: either(
        products(lines, d),
        mapped(products(lines, d), d),
        normals_in(d),
        students_in(d),
        normal_mixtures(d),
        mixtures(mapped(products(tame, d), d)),
        mapped(mixtures(products(tame, d)), d),
    )
)
distributions = either(lines, composed, composed)
rough_ones = either(rough, mixtures(st.one_of(rough, simple)), products(st.one_of(rough, simple), 2))

line_pairs = either(
    st.tuples(normal_mixtures(1), normal_mixtures(1)),
    st.tuples(normal_mixtures(1), normals),
    st.tuples(central, normals),
    st.tuples(central, central),
)
costly_pairs = either(st.tuples(edged, central), st.tuples(rough, central), st.tuples(edged, edged))


@st.composite
def shared_maps(draw):
    """Two vectors under one map."""
    a = draw(maps(2))
    return tuple(a @ draw(products(central, 2)) for _ in range(2))


pairs = either(
    line_pairs,
    line_pairs,
    line_pairs,
    st.tuples(normals_in(2), normals_in(2)),
    st.tuples(normals_in(3), normals_in(3)),
    st.tuples(normal_mixtures(2), normals_in(2)),
    st.tuples(products(central, 2), products(normals, 2)),
    shared_maps(),
    costly_pairs,
)
flowing = either(
    normal_mixtures(1),
    normal_mixtures(1),
    normals_in(2),
    normals_in(3),
    products(normal_mixtures(1), 2),
    central,
    either(edged, rough, normal_mixtures(2)),
)
joint = either(
    normal_mixtures(2),
    normals_in(2),
    normals_in(3),
    students_in(2),
    students_in(3),
    products(lines, 2),
    products(lines, 3),
)
chained = either(*[normals_in(2), normals_in(3), products(lines, 3)] * 3, normal_mixtures(2))
