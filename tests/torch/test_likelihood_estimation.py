"""Likelihoods in bfloat16, in several processes, and in memory that does not grow."""

import math

import pytest
import torch
from torch import multiprocessing, nn

from infoplane_torch import presets
from infoplane_torch.evaluation import log_likelihood, negative_log_likelihood
from tests.torch.test_evaluation import linear_gaussian_vae
from tests.torch.test_sample_information import LargestTensor

SMALL = {"event_shape": (1, 4, 4), "latent_dim": 3, "hidden": (16,)}


def model_and_images(n=11):
    torch.manual_seed(0)
    model, _ = presets.build(presets.vae(**SMALL))
    return model, torch.bernoulli(torch.full((n, 1, 4, 4), 0.5), generator=torch.Generator().manual_seed(1))


def test_an_image_s_likelihood_does_not_depend_on_the_batches_before_it():
    model, x = model_and_images(6)
    options = {"num_samples": 30, "batch_size": 2}
    all_of_them = log_likelihood(model, x, **options).log_likelihood
    others = log_likelihood(model, torch.cat((1 - x[:4], x[4:])), **options).log_likelihood
    assert torch.equal(all_of_them[4:], others[4:])
    assert not torch.equal(all_of_them[:4], others[:4])
    # The same image in two batches meets different draws.
    twins = log_likelihood(model, x[:1].expand(2, -1, -1, -1), num_samples=30, batch_size=1)
    assert twins.log_likelihood[0] != twins.log_likelihood[1]


def test_bfloat16_is_off_by_little_and_multiplies_in_bfloat16():
    model, x = model_and_images()
    seen = []
    model.likelihood.network[-1].register_forward_hook(lambda *arguments: seen.append(arguments[2].dtype))
    full = log_likelihood(model, x, num_samples=500)
    mixed = log_likelihood(model, x, num_samples=500, precision="bf16-mixed")
    assert set(seen) == {torch.float32, torch.bfloat16}
    assert mixed.log_likelihood.dtype == torch.float32
    # Logits of order 1 to 2⁻⁹, with random signs over 16 pixels.
    assert float((full.log_likelihood - mixed.log_likelihood).abs().max()) < 4 * 4 * 2**-9
    assert not torch.equal(full.log_likelihood, mixed.log_likelihood)


@pytest.mark.parametrize("images", [1, 11])
def test_no_tensor_grows_with_the_number_of_samples(images):
    model, x = model_and_images(images)
    elements = []
    for num_samples in (200, 2000):
        with LargestTensor() as largest:
            log_likelihood(model, x, num_samples=num_samples, chunk_size=100, batch_size=2)
        elements.append(largest.elements)
    assert elements[0] == elements[1] == 100 * min(images, 2) * 16


def test_double_precision_stays_double():
    model, x, exact = linear_gaussian_vae(correlated=False)
    result = log_likelihood(model, x, num_samples=10, batch_size=3)
    assert result.log_likelihood.dtype == torch.float64
    torch.testing.assert_close(result.log_likelihood, exact, rtol=1e-9, atol=1e-9)


def test_wrong_options_are_named():
    model, x = model_and_images()
    with pytest.raises(ValueError, match="`precision` must be one of"):
        log_likelihood(model, x, precision="fp8")
    with pytest.raises(ValueError, match="`distributed` needs the processes"):
        log_likelihood(model, x, distributed=True)


def _share(rank, folder, processes):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=processes
    )
    model, x = model_and_images()
    encoded = []
    model.posterior.register_forward_pre_hook(lambda _, arguments: encoded.append(len(arguments[0])))
    result = log_likelihood(model, x, num_samples=50, batch_size=2, distributed=True)
    nll = negative_log_likelihood(model, x, num_samples=50, batch_size=2, distributed=True)
    torch.save((tuple(result), float(nll.nll), nll.sampling_error, encoded), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_processes_that_share_the_images_get_the_result_of_one(processes, tmp_path):
    multiprocessing.spawn(_share, args=(tmp_path, processes), nprocs=processes)
    model, x = model_and_images()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = log_likelihood(model, x, num_samples=50, batch_size=2)
    torch.set_num_threads(threads)
    encoded = 0
    for rank in range(processes):
        result, nll, error, batches = torch.load(tmp_path / f"{rank}.pt")
        for own, expected in zip(result, alone, strict=True):
            assert torch.equal(own, expected)
        assert nll == pytest.approx(-float(alone.log_likelihood.double().mean()), rel=1e-12)
        assert math.isfinite(error)
        encoded += sum(batches)
    assert encoded == 2 * 11  # twice evaluated, and each image encoded by one process


def test_a_model_in_training_mode_is_left_so():
    model, x = model_and_images(3)
    model.likelihood.network.insert(1, nn.Dropout(0.5))
    state = torch.get_rng_state()
    log_likelihood(model, x, num_samples=10)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
