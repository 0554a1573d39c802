"""One step against a slow, obvious version; weight averages, schedules, compilation."""

import contextlib
import dataclasses
import math
import types

import pytest
import torch
from lightning_fabric import Fabric

from infoplane_torch import presets
from infoplane_torch.data import batches, epoch_seed
from infoplane_torch.training import TrainingConfig, train
from infoplane_torch.training_loss import Loss
from infoplane_torch.training_step import TrainingStep, WeightAverage

CONFIG = TrainingConfig(
    epochs=4, batch_size=32, warmup_epochs=0, patience=None, accelerator="cpu", seed=5, checkpoint_seconds=0
)


pytestmark = pytest.mark.usefixtures("one_thread")


def build():
    torch.manual_seed(0)
    return presets.build(presets.fae(20.0, 1.0, event_shape=(1, 8, 8), hidden=(16,), latent_dim=3))


def weights_after_each_step(digits, config) -> list[list[torch.Tensor]]:
    """The loop as one would write it down: Adam on the clipped gradient of the loss."""
    vae, objective = build()
    adam = torch.optim.Adam(vae.parameters(), lr=config.learning_rate, fused=True)
    steps = []
    for epoch in range(1, config.epochs + 1):
        for group in adam.param_groups:
            group["lr"] = config.learning_rate_in(epoch)
        torch.manual_seed(epoch_seed(config.seed, epoch, stream=1))
        for x in batches(digits.train, config.batch_size, seed=config.seed, epoch=epoch, binary=False):
            loss = objective(vae, x, beta=config.beta(epoch)).loss
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), config.clip_norm)
            adam.step()
            steps.append([parameter.detach().clone() for parameter in vae.parameters()])
    return steps


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_training_is_the_loop_that_one_would_write_down(schedule, digits, tmp_path):
    config = dataclasses.replace(CONFIG, schedule=schedule, schedule_epochs=2, learning_rate=0.01)
    expected = weights_after_each_step(digits, config)[-1]
    history = train(*build(), digits, config, tmp_path, progress=False)
    last = torch.load(tmp_path / "last.pt", weights_only=True)["model"]
    for value, name in zip(expected, dict(build()[0].named_parameters()), strict=True):
        assert torch.equal(last[name], value)
    assert history.column("learning_rate") == [config.learning_rate_in(epoch) for epoch in range(1, 5)]


def test_the_average_is_that_of_all_weights_and_is_what_is_evaluated_and_kept(digits, tmp_path):
    config = dataclasses.replace(CONFIG, ema_decay=0.8, learning_rate=0.01)
    steps = weights_after_each_step(digits, config)
    fading = torch.tensor([0.8 ** (len(steps) - 1 - i) for i in range(len(steps))], dtype=torch.float64)
    vae, objective = build()
    history = train(vae, objective, digits, config, tmp_path, progress=False)
    assert history.best_epoch == config.epochs
    for i, parameter in enumerate(vae.parameters()):
        stack = torch.stack([step[i].double() for step in steps])
        expected = torch.tensordot(fading / fading.sum(), stack, dims=1)
        torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-5, atol=1e-6)
    checkpoint = torch.load(tmp_path / "last.pt", weights_only=True)
    for value, name in zip(steps[-1], dict(vae.named_parameters()), strict=True):
        assert torch.equal(checkpoint["model"][name], value)  # training goes on from the weights themselves
        assert torch.equal(checkpoint["best_model"][name], vae.state_dict()[name])
    with torch.random.fork_rng():
        torch.manual_seed(epoch_seed(config.seed, 0, stream=2))
        with torch.no_grad():
            elbo = objective(vae, digits.evaluation_images("valid")).elbo
    assert history.rows[-1]["valid_elbo"] == pytest.approx(float(elbo), rel=1e-6)


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_averages_and_schedules_resume_to_the_same_bits(schedule, digits, tmp_path, monkeypatch):
    config = dataclasses.replace(
        CONFIG, ema_decay=0.9, schedule=schedule, schedule_epochs=1, schedule_factor=0.5, learning_rate=0.05
    )
    add = TrainingStep.begin_epoch

    def stopped(self, **options):
        stopped.epochs += 1
        if stopped.epochs == 3:
            raise KeyboardInterrupt
        add(self, **options)

    stopped.epochs = 0
    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "begin_epoch", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(*build(), digits, config, tmp_path / "cut", progress=False)
    resumed, whole = build(), build()
    first = train(*resumed, digits, config, tmp_path / "cut", progress=False)
    second = train(*whole, digits, config, tmp_path / "whole", progress=False)
    assert first.column("train_loss") == second.column("train_loss")
    assert first.column("learning_rate") == second.column("learning_rate")
    for name, value in resumed[0].state_dict().items():
        assert torch.equal(value, whole[0].state_dict()[name])


def rates(config: TrainingConfig, values: list[float]) -> list[float]:
    return [config.learning_rate_in(epoch, values[: epoch - 1]) for epoch in range(1, config.epochs + 1)]


def test_schedules_are_those_of_torch():
    config = TrainingConfig(epochs=40, warmup_epochs=0, learning_rate=0.3, schedule_epochs=4)
    generator = torch.Generator().manual_seed(0)
    elbo = (torch.randn(40, generator=generator) + torch.arange(40) / 20).tolist()
    for schedule, make in {
        "cosine": lambda adam: torch.optim.lr_scheduler.CosineAnnealingLR(adam, 40, eta_min=0.01),
        "step": lambda adam: torch.optim.lr_scheduler.StepLR(adam, 4, gamma=0.1),
        "plateau": lambda adam: torch.optim.lr_scheduler.ReduceLROnPlateau(
            adam, mode="max", factor=0.1, patience=3, threshold=0
        ),
    }.items():
        adam = torch.optim.Adam([torch.zeros(1)], lr=0.3)
        scheduler, expected = make(adam), []
        for value in elbo:
            expected.append(adam.param_groups[0]["lr"])
            adam.step()
            scheduler.step(*([value] if schedule == "plateau" else []))
        floor = 0.01 if schedule == "cosine" else 0.0
        mine = dataclasses.replace(config, schedule=schedule, minimum_learning_rate=floor)
        assert rates(mine, elbo) == pytest.approx(expected), schedule


def test_a_plateau_counts_from_the_end_of_the_warm_up_and_no_schedule_goes_below_the_minimum():
    config = TrainingConfig(
        epochs=12, warmup_epochs=4, learning_rate=1.0, schedule="plateau", schedule_epochs=2,
        minimum_learning_rate=0.05,
    )  # fmt: skip
    # Falling while β rises, then the same: the first epoch after the warm-up is the best.
    elbo = [-1.0, -2.0, -3.0, -4.0] + [-5.0] * 8
    assert rates(config, elbo) == pytest.approx([1.0] * 7 + [0.1] * 2 + [0.05] * 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ema_decay": 1.0}, "`ema_decay` must be between 0 and 1, got 1.0"),
        ({"schedule": "linear"}, "`schedule` must be one of"),
        ({"schedule_factor": 0.0}, "`schedule_factor` must be between 0 and 1, got 0.0"),
        ({"schedule_epochs": 0}, "`schedule_epochs` must be at least 1, got 0"),
        ({"minimum_learning_rate": 1.0}, "`minimum_learning_rate` must be between 0 and `learning_rate`"),
        ({"devices": 0}, "`devices` must be at least 1, got 0"),
        ({"checkpoint_seconds": math.nan}, "`checkpoint_seconds` must be at least 0, got nan"),
    ],
)
def test_a_bad_option_is_a_clear_error(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**options)


def test_a_recorded_step_without_a_gpu_is_a_clear_error(digits, tmp_path):
    config = dataclasses.replace(CONFIG, cuda_graph=True)
    with pytest.raises(ValueError, match="`cuda_graph` must be False or None except on a single GPU"):
        train(*build(), digits, config, tmp_path, progress=False)


def test_a_fault_is_found_at_its_step_by_whoever_looks_later():
    vae, objective = build()
    fabric = Fabric(accelerator="cpu", devices=1)
    loss, adam = fabric.setup(Loss(vae, objective), torch.optim.Adam(vae.parameters()))
    step = TrainingStep(fabric, loss, adam, clip_norm=1.0, average=None, record=False)
    step.begin_epoch(beta=1.0, learning_rate=1e-3)
    x = torch.zeros(4, 1, 8, 8)
    for batch in (x, x, x * math.nan, x):
        step(batch)
    (fault,) = step.faults()
    assert fault is not None
    assert fault.step == 3
    assert math.isnan(fault.loss)
    step.begin_epoch(beta=1.0, learning_rate=1e-3)
    assert not any(step.faults())


def test_checkpoints_can_be_rarer_than_epochs_and_the_last_is_always_written(digits, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("infoplane_torch.training_run.save", lambda content, path: written.append(path.name))
    train(*build(), digits, dataclasses.replace(CONFIG, checkpoint_seconds=1e6), tmp_path, progress=False)
    assert written == ["last.pt", "best.pt"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of what it imports to compile
def test_a_compiled_step_computes_the_same(digits, tmp_path):
    # The noise of compiled code is drawn otherwise: without it only the order of sums differs.
    rsample = torch.distributions.Normal.rsample
    torch.distributions.Normal.rsample = lambda self, shape=(): self.loc.expand(self._extended_shape(shape))
    try:
        eager = train(*build(), digits, CONFIG, tmp_path / "eager", progress=False)
        config = dataclasses.replace(CONFIG, compile=True)
        compiled = train(*build(), digits, config, tmp_path / "compiled", progress=False)
    finally:
        torch.distributions.Normal.rsample = rsample
    for name in ("train_elbo", "valid_elbo", "valid_fisher_trace_mean"):
        assert compiled.column(name) == pytest.approx(eager.column(name), rel=1e-4), name


@pytest.fixture
def pretended_cuda(monkeypatch):
    """Recording without a GPU: a replay runs the step, and what waits is an error while that is asked for."""
    mode = types.SimpleNamespace(now="default", seen=[])

    def set_mode(new):
        mode.now = new
        mode.seen.append(new)

    stream = types.SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: stream)
    monkeypatch.setattr("torch.cuda.Stream", lambda device: stream)
    monkeypatch.setattr("torch.cuda.stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr("torch.cuda.get_sync_debug_mode", lambda: mode.now)
    monkeypatch.setattr("torch.cuda.set_sync_debug_mode", set_mode)

    def recorded(step, images):
        step._step(images)  # as a recording would; what it changes is to be put back
        return types.SimpleNamespace(replay=lambda: step._step(images))

    monkeypatch.setattr(TrainingStep, "_recorded", recorded)
    return mode


def steps_taken(record, waits=lambda: None):
    """Weights, averages, means and noise after two epochs of unequal batches."""
    vae, objective = build()
    loss = Loss(vae, objective)
    forward = loss.forward
    loss.forward = lambda *arguments: (waits(), forward(*arguments))[1]
    fabric = Fabric(accelerator="cpu", devices=1)
    wrapped, adam = fabric.setup(loss, torch.optim.Adam(vae.parameters(), lr=torch.tensor(0.01), fused=True))
    average = WeightAverage(loss.averaged(), 0.9)
    step = TrainingStep(fabric, wrapped, adam, clip_norm=1.0, average=average, record=record)
    torch.manual_seed(1)
    for _ in range(2):
        step.begin_epoch(beta=0.5, learning_rate=0.01)
        for count in (5, 5, 3):
            step(torch.rand(count, 1, 8, 8))
    assert not any(step.faults())
    assert average.steps == 6
    return [*vae.parameters(), *average.sums, step.means.sums, torch.rand(1)]


def test_recording_leaves_the_run_as_it_was(pretended_cuda):
    """Three steps to warm up and one to be recorded, for each size of batch, change nothing at all."""
    for mine, plain in zip(steps_taken(record=True), steps_taken(record=False), strict=True):
        assert torch.equal(mine, plain)
    assert pretended_cuda.seen == ["error", "default"] * 2


def test_a_step_that_waits_for_the_device_is_found_before_it_is_recorded(pretended_cuda):
    def waits():
        if pretended_cuda.now == "error":
            raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph and runs eagerly: called a syn"):
        eager = steps_taken(record=None, waits=waits)
    for mine, plain in zip(eager, steps_taken(record=False), strict=True):
        assert torch.equal(mine, plain)
    assert pretended_cuda.now == "default"
    with pytest.raises(RuntimeError, match="synchronizing"):
        steps_taken(record=True, waits=waits)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_recorded_step_computes_the_same(digits, tmp_path):
    config = dataclasses.replace(CONFIG, accelerator="cuda", ema_decay=0.9, schedule="cosine")
    histories = [
        train(
            *build(),
            digits,
            dataclasses.replace(config, cuda_graph=graph),
            tmp_path / str(graph),
            progress=False,
        )
        for graph in (False, True)
    ]
    for name in ("train_elbo", "valid_elbo", "valid_fisher_trace_mean"):
        assert histories[1].column(name) == pytest.approx(histories[0].column(name), rel=0.02), name
