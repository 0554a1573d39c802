"""Entropy, Fisher and mutual information of samples: infoplane's numbers, with exact gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

import infoplane
from infoplane.errors import DegenerateSampleError
from infoplane.estimators.kde import _rayleigh
from infoplane.estimators.kernel_density import LineKernels, PairKernels
from infoplane.sample import Sample
from infoplane_torch import kernel_information, neighbors
from infoplane_torch.information import (
    kde_entropy,
    kde_fisher_information,
    kde_fisher_trace,
    knn_entropy,
    knn_mutual_information,
    ksg_mutual_information,
)
from infoplane_torch.whitening import as_sample, whiten

SEEDS = st.integers(0, 2**32 - 1)
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


def clusters(n, d, *, seed=0, dtype=torch.float64):
    """Two clusters, correlated and far from the origin."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    x[: n // 3] += 3
    return (x @ torch.randn(d, d, generator=generator, dtype=torch.float64) + 5).to(dtype)


MEASURES = {
    "knn": (knn_entropy, lambda x: infoplane.entropy(x, method="knn")),
    "whitened": (
        lambda x: knn_entropy(x, variant="whitened"),
        lambda x: infoplane.entropy(x, method=infoplane.KNN(calibrate=False)),
    ),
    "knn, k=7": (lambda x: knn_entropy(x, k=7), lambda x: infoplane.entropy(x, method=infoplane.KNN(k=7))),
    "kde": (kde_entropy, lambda x: infoplane.entropy(x, method="kde")),
    "J by kde": (kde_fisher_information, lambda x: infoplane.fisher_information(x, method="kde")),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("d", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("name", MEASURES)
def test_the_numbers_are_those_of_infoplane_to_the_rounding_of_float64(name, d, device):
    if name == "J by kde" and d == 1:
        pytest.skip("infoplane bins in one dimension; see the next test")
    ours, theirs = MEASURES[name]
    x = clusters(400, d)
    result = ours(x.to(device))
    assert result.dtype == torch.float64
    assert result.device.type == device
    np.testing.assert_allclose(result.cpu().numpy(), theirs(x.numpy()), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("d", [1, 2, 5, 10])
@pytest.mark.parametrize("name", MEASURES)
def test_float32_samples_give_the_same_to_the_rounding_of_float32(name, d, device):
    ours, _ = MEASURES[name]
    x = (clusters(400, d) - 5).float()  # no two alike by chance
    result = ours(x.to(device))
    assert result.dtype == torch.float32
    exact = ours(x.double())
    assert float((result.cpu() - exact).norm() / exact.norm()) < 3e-5


def test_in_one_dimension_the_fisher_information_is_that_of_pair_sums():
    x = clusters(700, 1)
    z = Sample.of(x.numpy()).whitened[:, 0]
    line = LineKernels(z, widening=1.6)
    t = np.ascontiguousarray((z - line.center) / line.scale)[:, None]
    field = PairKernels(t).field(t, np.arange(700), line.bandwidth).in_units_of(line.scale)
    exact = _rayleigh(field, np.full(700, 1 / 700))[1].item()
    ours = kernel_information._rayleigh(whiten(as_sample(x)), None, 20_000, torch.float64)
    assert float(ours) == pytest.approx(exact, rel=1e-10)
    assert float(kde_fisher_trace(x)) == pytest.approx(
        float(infoplane.fisher_trace(x.numpy(), method="kde")), rel=2e-3
    )


def test_few_evaluation_points_are_those_of_infoplane():
    x, method = clusters(900, 3), infoplane.KDE(bandwidth=0.4, max_points=100)
    options = {"bandwidth": 0.4, "max_points": 100}
    assert float(kde_entropy(x, **options)) == pytest.approx(infoplane.entropy(x.numpy(), method=method))
    exact = infoplane.fisher_information(x.numpy(), method=method)
    np.testing.assert_allclose(kde_fisher_information(x, **options).numpy(), exact, rtol=1e-10)


def test_the_plain_variant_is_the_estimator_of_kozachenko_and_leonenko():
    x = clusters(60, 2).numpy()
    distances = np.sort(np.linalg.norm(x[:, None] - x, axis=2), axis=1)[:, 3]
    harmonic = sum(1 / i for i in range(1, 60)) - sum(1 / i for i in range(1, 3))  # ψ(60) − ψ(3)
    exact = harmonic + math.log(math.pi) + 2 * np.log(distances).mean()
    assert float(knn_entropy(torch.from_numpy(x), variant="plain")) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("d_x", "d_y"), [(1, 1), (2, 3)])
def test_mutual_informations_are_those_of_infoplane(d_x, d_y, device):
    x, y = clusters(500, d_x), clusters(500, d_y, seed=1)
    y[:, 0] += x[:, 0]
    for ours, method in ((knn_mutual_information, "knn"), (ksg_mutual_information, "ksg")):
        exact = infoplane.mutual_information(x.numpy(), y.numpy(), method=method)
        assert float(ours(x.to(device), y.to(device))) == pytest.approx(float(exact), rel=1e-10)


@pytest.mark.parametrize("d", [1, 2, 3, 9])
@pytest.mark.parametrize(
    "measure",
    [
        knn_entropy,
        lambda x: knn_entropy(x, variant="plain"),
        lambda x: kde_entropy(x, bandwidth=0.6),
        lambda x: kde_fisher_information(x, bandwidth=0.6),
        lambda x: kde_fisher_trace(x, bandwidth=0.3, max_points=20),
    ],
    ids=["knn", "plain", "kde", "J", "tr J at some points"],
)
def test_gradients_are_those_of_finite_differences(measure, d):
    x = clusters(max(5 * d, 24), d).requires_grad_()
    assert torch.autograd.gradcheck(measure, (x,), eps=1e-7, atol=1e-5, rtol=1e-3, fast_mode=True)


def test_the_gradient_of_the_mutual_information_is_that_of_finite_differences():
    x, y = clusters(30, 1).requires_grad_(), clusters(30, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(knn_mutual_information, (x, y), eps=1e-7, atol=1e-5, fast_mode=True)
    assert not ksg_mutual_information(x, y).requires_grad


def test_the_bounds_on_eigenvalues_have_a_gradient_where_eigenvalues_coincide():
    root = torch.diag(torch.tensor([2.0, 2.0, 0.5, 0.5], dtype=torch.float64)).requires_grad_()

    def measure(a):
        return kernel_information._clamp_eigenvalues((a + a.T) / 2, 1.0, math.inf).square().sum()

    assert torch.autograd.gradcheck(measure, (root,), eps=1e-7, atol=1e-5)


@given(seed=SEEDS, scale=st.floats(0.01, 100))
@settings(max_examples=6, deadline=None)
def test_the_gradient_knows_how_entropy_and_information_scale(seed, scale):
    # H(a x) = H(x) + d log a and J(a x) = J(x)/a²: by Euler x·∇H = d and x·∇tr J = −2 tr J.
    x = clusters(60, 2, seed=seed) * scale
    for measure, expected in (
        (knn_entropy, lambda h: 2.0),
        (kde_entropy, lambda h: 2.0),
        (kde_fisher_trace, lambda j: -2 * float(j)),
    ):
        leaf = x.clone().requires_grad_()
        value = measure(leaf)
        value.backward()
        assert float((leaf.grad * (x - x.mean(0))).sum()) == pytest.approx(expected(value.detach()), rel=1e-6)
        assert float(leaf.grad.sum(0).abs().max()) < 1e-6 * float(leaf.grad.abs().max()) + 1e-12


def test_training_codes_by_their_entropy_spreads_them_out():
    z = clusters(100, 2).requires_grad_()
    before = float(knn_entropy(z.detach()))
    optimizer = torch.optim.Adam([z], lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        (-knn_entropy(z)).backward()
        optimizer.step()
    assert float(knn_entropy(z.detach())) > before + 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 6, 10, 20])
def test_products_of_matrices_find_the_neighbours_that_differences_find(d, dtype, monkeypatch):
    monkeypatch.setattr(neighbors, "_CPU_PAIRS", 2**12)
    x = clusters(600, d).to(dtype)
    x[:50] *= 1e-4  # much closer to each other than a product in float32 can tell
    distances = torch.linalg.norm(x.double()[:, None] - x.double(), dim=2)
    expected = distances.sort(1).values[:, [1, 5]]
    for search in (neighbors._by_products, neighbors._by_tree):
        found = distances.gather(1, search(x, (1, 5)))
        torch.testing.assert_close(found, expected, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=0)


class LargestTensor(TorchFunctionMode):
    """Counts the elements of the largest tensor that any function returns."""

    elements = 0

    def __torch_function__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
                # What is only expanded takes no memory.
                stored = math.prod(
                    size for size, step in zip(tensor.shape, tensor.stride(), strict=True) if step
                )
                self.elements = max(self.elements, stored)
        return result


@pytest.mark.parametrize(
    "measure",
    [
        lambda x: neighbors._by_products(x, (1, 3)),
        lambda x: kde_entropy(x, bandwidth=0.5),
        lambda x: kde_fisher_trace(x, bandwidth=0.5),
        lambda x: ksg_mutual_information(x[:, :2], x[:, 2:]),
    ],
    ids=["neighbours", "H", "J", "I"],
)
def test_memory_is_that_of_a_chunk_of_rows(measure, monkeypatch):
    monkeypatch.setattr(neighbors, "_CPU_PAIRS", 1)  # 8 rows at a time
    x = clusters(1000, 4)
    with LargestTensor() as largest:
        measure(x)
    assert largest.elements <= 8 * 1000 + 4 * 1000  # a chunk of the table, or a few columns of the sample


def test_the_backward_pass_stores_no_table_either(monkeypatch):
    monkeypatch.setattr(neighbors, "_CPU_PAIRS", 1)
    stored = []
    x = clusters(400, 4).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: stored.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        value = kde_fisher_trace(x, bandwidth=0.5)
    assert max(stored) <= 4 * 400  # and not 8 · 400 of a chunk
    value.backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("measure", [knn_entropy, kde_entropy, kde_fisher_information, kde_fisher_trace])
def test_faulty_samples_are_named(measure):
    x = clusters(50, 2)
    for faulty, error, message in (
        (x.numpy(), TypeError, "`x` must be a floating-point tensor, got ndarray"),
        (x.long(), TypeError, "`x` must be a floating-point tensor, got torch.int64"),
        (x[None], ValueError, r"`x` must have shape \(n,\) or \(n, d\), got \(1, 50, 2\)"),
        (x[:19], ValueError, "`x` must have at least 20 rows .* got 19"),
        (torch.full_like(x, math.nan), ValueError, "`x` must be finite, got 100 entries"),
        (torch.cat((x, x)), DegenerateSampleError, "`x` has 50 repeated rows among 100"),
        (torch.cat((x, x[:, :1]), 1), DegenerateSampleError, "linearly independent columns"),
        (torch.cat((x, x[:, :1] * 0), 1), DegenerateSampleError, r"constant column\(s\) \[2\]"),
    ):
        with pytest.raises(error, match=message):
            measure(faulty)


def test_ties_that_single_precision_makes_by_chance_are_no_fault_but_many_are():
    x = torch.rand(20_000, generator=torch.Generator().manual_seed(0)) + 5
    assert len(torch.unique(x)) < 20_000
    assert float(knn_entropy(x)) == pytest.approx(0.0, abs=0.02)
    with pytest.raises(DegenerateSampleError, match="repeated rows"):
        knn_entropy(x.bfloat16())


def test_wrong_options_are_named():
    x = clusters(50, 2)
    with pytest.raises(ValueError, match="`k` must lie between 1 and n − 2 = 48, got 0"):
        knn_entropy(x, k=0)
    with pytest.raises(ValueError, match="`variant` must be one of"):
        knn_entropy(x, variant="raw")
    with pytest.raises(ValueError, match="`variant` must be one of"):
        knn_mutual_information(x, x, variant="raw")
    with pytest.raises(ValueError, match="`bandwidth` must be a positive number"):
        kde_entropy(x, bandwidth=-1.0)
    with pytest.raises(ValueError, match="`max_points` must be positive"):
        kde_fisher_trace(x, max_points=0)
    for measure in (knn_mutual_information, ksg_mutual_information):
        with pytest.raises(ValueError, match="the same number of rows, got 50 and 40"):
            measure(x, x[:40])
    with pytest.raises(ValueError, match="`k` must lie between 1 and n − 2"):
        ksg_mutual_information(x, x, k=49)


def test_autocast_changes_nothing():
    x = clusters(300, 9, dtype=torch.float32)
    for measure in (knn_entropy, kde_entropy, kde_fisher_trace):
        expected = measure(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(measure(x), expected)
