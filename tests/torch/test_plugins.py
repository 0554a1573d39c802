"""Penalties and plane measures of models that know nothing of this package."""

import importlib
import importlib.util
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import distributions as td
from torch import multiprocessing

import infoplane
from infoplane_torch import (
    fisher_penalty,
    fisher_shannon,
    fisher_trace,
    gaussian_posterior,
    kde_fisher_information,
    presets,
)
from infoplane_torch.commands import controlled
from infoplane_torch.image_batches import mean_over_images
from infoplane_torch.networks import in_float64
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.plugins import as_posterior

EXAMPLES = Path(__file__).parents[2] / "examples" / "plugins"
needs_torchmetrics = pytest.mark.skipif(
    importlib.util.find_spec("torchmetrics") is None, reason="no torchmetrics"
)
needs_lightning = pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="no lightning")


def mean_and_log_variance(n=50, d=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, n, d, generator=generator)
    return mean, log_variance - 1


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("form", ["abs", "hinge"])
def test_mean_and_log_variance_a_distribution_and_a_normal_give_one_penalty(form, reduction):
    mean, log_variance = mean_and_log_variance()
    options = {"target": 4.0, "weight": 0.3, "form": form, "reduction": reduction}
    normal = td.Normal(mean, (0.5 * log_variance).exp())
    exact = FisherInformation(**options).of_distribution(td.Independent(normal, 1))
    for latent in ((mean, log_variance), (td.Independent(normal, 1),), (normal,)):
        torch.testing.assert_close(fisher_penalty(*latent, **options), exact)


def test_the_penalty_reaches_the_encoder_of_any_model():
    mean, log_variance = (value.requires_grad_() for value in mean_and_log_variance())
    fisher_penalty(mean, log_variance, target=20, weight=0.5).backward()
    # ½/50 d|1/σ² − 20|/d log σ², over d = 3; below 20 each J pulls log σ² down.
    fisher = (-log_variance.detach()).exp()
    sign = (fisher.mean(1, keepdim=True) - 20).sign()
    torch.testing.assert_close(log_variance.grad, -sign * fisher * 0.5 / 50 / 3)


def test_any_distribution_will_do():
    mixture = td.MixtureSameFamily(
        td.Categorical(torch.ones(4, 2)),
        td.Independent(td.Normal(torch.zeros(4, 2, 3), torch.ones(4, 2, 3)), 1),
    )
    assert float(fisher_penalty(mixture.expand((4,)), target=1, weight=1)) < 0.3  # Monte Carlo of 1
    with pytest.raises(TypeError, match="location Fisher information"):
        fisher_penalty(td.Independent(td.Bernoulli(torch.full((4, 3), 0.5)), 1), target=1, weight=1)


def test_codes_alone_are_penalised_by_the_fisher_information_of_the_aggregated_posterior():
    z = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    diagonal = kde_fisher_information(z.detach()).diagonal()
    for reduction, expected in (
        ("mean", abs(diagonal.mean() - 9)),
        ("sum", abs(diagonal.sum() - 9)),
        ("none", (diagonal - 9).abs().sum()),
    ):
        value = fisher_penalty(z, target=9, weight=2, reduction=reduction)
        torch.testing.assert_close(value.detach(), 2 * expected)
    value.backward()
    assert float((z.grad * z.detach()).sum()) > 0  # to raise J the codes must contract
    with pytest.raises(ValueError, match="FisherConstraint"):
        fisher_penalty(*mean_and_log_variance(), target=9, weight=1, form="lagrangian")
    with pytest.raises(ValueError, match="`form` must be"):
        fisher_penalty(z, target=9, weight=1, form="lagrangian")


def test_the_place_of_posteriors_is_that_of_their_mean_entropy_and_mean_fisher_information():
    mean, log_variance = mean_and_log_variance()
    point = fisher_shannon(mean, log_variance)
    variance = log_variance.double().exp().numpy()
    h, trace = 0.5 * np.log(2 * np.pi * np.e * variance).sum(1), (1 / variance).sum(1)
    for estimate, values in ((point.entropy, h), (point.fisher_trace, trace)):
        assert float(estimate) == pytest.approx(values.mean(), rel=1e-5)
        assert estimate.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(50), rel=1e-5)
    relative = 2 / 3 * h + trace / trace.mean()
    expected = float(point.product) * relative.std(ddof=1) / math.sqrt(50)
    assert point.product.standard_error == pytest.approx(expected, rel=0.02)
    assert (point.d, point.n, point.entropy.method) == (3, 50, "closed form")
    np.testing.assert_allclose(point.fisher_information, np.diag((1 / variance).mean(0)), rtol=1e-5)


def test_the_place_of_codes_is_infoplane_s():
    z = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    ours = fisher_shannon(z, method="kde")
    theirs = infoplane.fisher_shannon(z.detach().numpy(), method="kde")
    assert float(ours.product) == float(theirs.product)


def test_half_precision_outputs_are_measured_in_single():
    mean, log_variance = (value.bfloat16() for value in mean_and_log_variance())
    posterior = gaussian_posterior(mean, log_variance)
    assert posterior.mean.dtype == torch.float32
    assert fisher_penalty(mean, log_variance, target=1, weight=1).dtype == torch.float32
    torch.testing.assert_close(fisher_trace(posterior), (-log_variance.float()).exp().sum(1))


@pytest.mark.parametrize(
    ("latent", "error", "message"),
    [
        (
            (torch.zeros(3, 2), torch.zeros(3, 1)),
            ValueError,
            r"one shape \(B, d\), got \(3, 2\) and \(3, 1\)",
        ),
        ((torch.zeros(3), torch.zeros(3)), ValueError, r"got \(3,\) and \(3,\)"),
        ((torch.zeros(3, 2),), TypeError, "or come with `log_variance`, got a tensor alone"),
        (([0.0, 1.0],), TypeError, "must be a torch distribution or a tensor, got list"),
        ((td.Normal(torch.zeros(3, 2), 1.0), torch.zeros(3, 2)), ValueError, "must not be given beside"),
        ((td.Normal(torch.zeros(3), 1.0),), ValueError, r"got \(3,\) and \(\)"),
    ],
)
def test_what_is_no_posterior_is_named(latent, error, message):
    with pytest.raises(error, match=message):
        as_posterior(*latent)


def plane_metric(**options):
    from infoplane_torch.metrics import FisherShannonPlane

    return FisherShannonPlane(latent_dim=3, **options)


@needs_torchmetrics
def test_the_metric_over_uneven_batches_is_the_place_of_all_images():
    mean, log_variance = mean_and_log_variance()
    metric = plane_metric()
    for part in (slice(0, 7), slice(7, 40), slice(40, 50)):
        metric.update(mean[part], log_variance[part])
    exact = fisher_shannon(mean, log_variance)
    values = metric.compute()
    for name in ("entropy", "entropy_power", "fisher_trace", "product"):
        estimate = getattr(exact, name)
        assert float(values[name]) == pytest.approx(float(estimate), rel=1e-6)
        assert float(values[f"{name}_error"]) == pytest.approx(estimate.standard_error, rel=1e-6)
        assert float(getattr(metric.point(), name)) == pytest.approx(float(estimate), rel=1e-12)
    np.testing.assert_allclose(metric.point().fisher_information, exact.fisher_information, rtol=1e-12)


@needs_torchmetrics
def test_the_metric_resets_saves_and_merges_like_any_other():
    mean, log_variance = mean_and_log_variance()
    metric, other = plane_metric(), plane_metric()
    batch = metric(mean[:20], log_variance[:20])  # forward: the value of the batch, and accumulation
    assert float(batch["product"]) == pytest.approx(
        float(fisher_shannon(mean[:20], log_variance[:20]).product)
    )
    other.update(mean[20:], log_variance[20:])
    metric.merge_state(other)
    assert float(metric.point().product) == pytest.approx(float(fisher_shannon(mean, log_variance).product))
    metric.reset()
    metric.update(mean[:1], log_variance[:1])
    assert metric.point().n == 1
    assert math.isnan(metric.point().product.standard_error)


@needs_torchmetrics
def test_the_metric_names_what_is_wrong():
    with pytest.raises(ValueError, match="`latent_dim` must be at least 1"):
        type(plane_metric())(0)
    with pytest.raises(ValueError, match="`latent` must have dimension 3, got 2"):
        plane_metric().update(*mean_and_log_variance(d=2))
    with pytest.raises(ValueError, match="at least one image"):
        plane_metric().point()


def _one_of_two(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    mean, log_variance = mean_and_log_variance()
    metric = plane_metric()
    part = slice(0, 13) if rank == 0 else slice(13, 50)
    metric.update(mean[part], log_variance[part])
    point, values = metric.point(), metric.compute()
    torch.save((float(point.product), point.product.standard_error, values), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@needs_torchmetrics
def test_two_processes_measure_what_one_does(tmp_path):
    multiprocessing.spawn(_one_of_two, args=(tmp_path,), nprocs=2)
    exact = fisher_shannon(*mean_and_log_variance())
    for rank in range(2):
        product, error, values = torch.load(tmp_path / f"{rank}.pt")
        assert product == pytest.approx(float(exact.product), rel=1e-12)
        assert error == pytest.approx(exact.product.standard_error, rel=1e-9)
        assert float(values["product"]) == pytest.approx(float(exact.product), rel=1e-6)


def lightning_run(folder, *, epochs, callback, resume=None, **options):
    from lightning.pytorch import LightningModule, Trainer
    from torch.utils.data import DataLoader

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.log_variance = torch.nn.Parameter(torch.zeros(2))

        def training_step(self, x, index):
            return fisher_penalty(x * 0, self.log_variance.expand_as(x), target=20, weight=1)

        def validation_step(self, x, index):
            return None

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=[callback], default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1, **options,
    )  # fmt: skip
    data = DataLoader(torch.zeros(8, 2), batch_size=4)
    trainer.fit(Module(), data, data, ckpt_path=resume)
    return trainer


def trajectory_callback(path=None):
    from infoplane_torch.callbacks import PlaneTrajectory

    return PlaneTrajectory(lambda module, x: (x * 0, module.log_variance.expand_as(x)), path)


@needs_lightning
@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_the_callback_follows_and_draws_the_model_and_goes_on_after_a_checkpoint(tmp_path):
    callback = trajectory_callback(tmp_path / "pictures" / "plane.png")
    trainer = lightning_run(tmp_path, epochs=3, callback=callback, logger=False)
    information = [point.fisher_trace / point.d for point in callback.trajectory]
    assert [point.epoch for point in callback.trajectory] == [1, 2, 3]
    assert 1 < information[0] < information[1] < information[2]
    for point in callback.trajectory:  # equal variances: on the curve of Gaussians
        assert point.entropy_power * point.fisher_trace / 2 == pytest.approx(1, rel=1e-5)
    assert float(trainer.callback_metrics["plane/product"]) == pytest.approx(1, rel=1e-5)
    assert (tmp_path / "pictures" / "plane.png").stat().st_size > 10_000
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    resumed = trajectory_callback(tmp_path / "plane.png")
    lightning_run(tmp_path, epochs=4, callback=resumed, logger=False, resume=tmp_path / "last.ckpt")
    assert [point.epoch for point in resumed.trajectory] == [1, 2, 3, 4]
    assert resumed.trajectory[:3] == callback.trajectory


@needs_lightning
@pytest.mark.filterwarnings("ignore")
def test_the_picture_goes_to_tensorboard_and_beside_its_log(tmp_path):
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    trainer = lightning_run(tmp_path, epochs=1, callback=trajectory_callback(), logger=logger)
    assert (Path(trainer.log_dir) / "plane.png").exists()
    logger.experiment.flush()
    events = EventAccumulator(trainer.log_dir).Reload()
    assert events.Tags()["images"] == ["plane"]
    assert "plane/product" in events.Tags()["scalars"]


@needs_lightning
@pytest.mark.filterwarnings("ignore")
def test_without_validation_the_callback_says_that_there_is_nothing_to_draw(tmp_path):
    with pytest.warns(infoplane.InfoplaneWarning, match="measures validation batches"):
        lightning_run(tmp_path, epochs=1, callback=trajectory_callback(), logger=False, limit_val_batches=0)


@pytest.mark.parametrize(
    ("module", "missing"),
    [("metrics", "torchmetrics"), ("callbacks", "lightning.pytorch"), ("callbacks", "torchmetrics")],
)
def test_what_an_optional_package_is_missing_for_is_said(module, missing, monkeypatch):
    for name in ("metrics", "callbacks"):
        monkeypatch.delitem(sys.modules, f"infoplane_torch.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r'pip install "infoplane\[lightning\]"'):
        importlib.import_module(f"infoplane_torch.{module}")


@pytest.mark.parametrize(
    ("example", "needs"),
    [
        ("plain_pytorch", "torch"),
        pytest.param("pythae_model", "pythae", marks=pytest.mark.slow),
        pytest.param("lightning_module", "lightning", marks=pytest.mark.slow),
    ],
)
def test_the_examples_run_in_other_people_s_frameworks(example, needs, tmp_path):
    pytest.importorskip(needs)
    code = f"import runpy; runpy.run_path({str(EXAMPLES / example)!r} + '.py')['main'](epochs=2)"
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1])}
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    if example == "lightning_module":
        assert "valid/product = " in run.stdout
        assert (tmp_path / "runs" / "lightning" / "plane.png").exists()
    else:
        assert run.stdout.count("N·J = ") == 3


def flow_posterior(images=5):
    torch.manual_seed(0)
    sizes = {"event_shape": (1, 4, 4), "hidden": (8,), "latent_dim": 3, "flow_hidden": (8,)}
    model, _ = presets.build(presets.iaf_vae(**sizes))
    return model.encode(torch.rand(images, 1, 4, 4))


def test_the_draws_of_a_flow_can_be_few():
    posterior = flow_posterior()
    for num_samples in (2, 8):
        torch.manual_seed(1)
        penalty = fisher_penalty(posterior, target=0, weight=1, num_samples=num_samples)
        torch.manual_seed(1)
        exact = fisher_trace(posterior, reduction="mean", num_samples=num_samples).mean()
        assert torch.equal(penalty, exact)
    assert presets.fae(20, 1.0, posterior="iaf").penalties[0].num_samples == 8
    assert presets.fae(20, 1.0, posterior="iaf", num_samples=99).penalties[0].num_samples == 99
    assert presets.fae(20, 1.0).penalties[0].num_samples == 256
    assert controlled(presets.iaf_vae(), 20.0, None).penalties[0].num_samples == 8


@needs_torchmetrics
def test_the_metric_takes_few_draws_and_says_what_inference_mode_forbids():
    metric, posterior = plane_metric(), flow_posterior()
    torch.manual_seed(1)
    metric.update(posterior, num_samples=4)
    torch.manual_seed(1)
    same = fisher_shannon(posterior, num_samples=4)
    assert float(metric.point().fisher_trace) == float(same.fisher_trace)
    with (
        torch.inference_mode(),
        pytest.raises(RuntimeError, match=r"has no closed form .* Trainer\(inference_mode=False\)"),
    ):
        metric.update(posterior)


@pytest.mark.parametrize("function", [fisher_shannon, partial(fisher_penalty, target=1, weight=1)])
def test_a_batch_of_no_images_is_a_clear_error(function):
    with pytest.raises(ValueError, match=r"must hold at least one image, got batch shape \(0,\)"):
        function(torch.zeros(0, 3), torch.zeros(0, 3))


def test_posteriors_that_are_not_finite_are_a_clear_error():
    with pytest.raises(ValueError, match="must have finite H and tr J, got nan and nan in the mean"):
        fisher_shannon(torch.zeros(5, 3), torch.full((5, 3), math.nan))


class OnMps:
    """A tensor of a device without float64."""

    device = SimpleNamespace(type="mps")

    def cpu(self):
        return torch.ones(2)

    def double(self):
        raise TypeError("Cannot convert a MPS Tensor to float64")


def test_float64_is_taken_on_the_processor_where_the_device_has_none():
    assert torch.equal(in_float64(OnMps()), torch.ones(2, dtype=torch.float64))
    assert float(mean_over_images(SizedOnMps(), method="any", d=1)) == 1


class SizedOnMps(OnMps):
    def __len__(self):
        return 2
