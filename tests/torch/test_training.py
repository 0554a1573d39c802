"""The training loop: exact resume after a kill, logs, early stopping, divergence, what it must not touch."""

import csv
import dataclasses
import hashlib
import math
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from infoplane.errors import InfoplaneWarning
from infoplane_torch import presets, training
from infoplane_torch.discrepancy import MMD
from infoplane_torch.history import History, TrajectoryPoint
from infoplane_torch.mutual_information import MutualInformation
from infoplane_torch.networks import MLP
from infoplane_torch.objective import Objective
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.posteriors import DiagonalGaussian
from infoplane_torch.training import DivergenceError, TrainingConfig, is_finished, train, train_together
from infoplane_torch.training_run import TrainingRun

CONFIG = TrainingConfig(
    epochs=6, batch_size=32, warmup_epochs=3, patience=None, accelerator="cpu", seed=5, checkpoint_seconds=0
)


class Killed(BaseException):
    """Stands for a SIGKILL inside of one process: nothing catches it."""


pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:the warm-up of"),  # few epochs are enough to stop and go on
]


def build(fisher: float = 20.0):
    torch.manual_seed(0)
    return presets.build(presets.fae(fisher, 1.0, event_shape=(1, 8, 8), hidden=(16,), latent_dim=3))


def fingerprint(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def run(digits, folder, *, config=CONFIG, fisher=20.0, **options):
    vae, objective = build(fisher)
    history = train(vae, objective, digits, config, folder, progress=False, **options)
    return vae, history


def without_seconds(history: History) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history.rows]


def last_weights(folder) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.pt", weights_only=True)["model"]


@pytest.fixture(scope="module")
def uninterrupted(digits, tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("uninterrupted")
    vae, history = run(digits, folder)
    torch.set_num_threads(threads)
    return folder, vae, history


def assert_same_run(folder, vae, history, uninterrupted):
    expected_folder, expected_vae, expected_history = uninterrupted
    assert fingerprint(vae) == fingerprint(expected_vae)
    assert without_seconds(history) == without_seconds(expected_history)
    expected = last_weights(expected_folder)
    assert all(torch.equal(value, expected[name]) for name, value in last_weights(folder).items())
    with (folder / "history.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [*range(1, CONFIG.epochs + 1)]


def kill_in_write(monkeypatch, name: str, *, after: bool, count: int) -> None:
    """Die when the file of that name is written for the `count`-th time, before or after its rename."""
    replace, seen = os.replace, [0]

    def dying_replace(source, target):
        seen[0] += str(target).endswith(name)
        dying = str(target).endswith(name) and seen[0] == count
        if dying and not after:
            raise Killed
        replace(source, target)
        if dying:
            raise Killed

    monkeypatch.setattr(training.os, "replace", dying_replace)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("name", "count"), [("last.pt", 1), ("last.pt", 4), ("history.csv", 4), ("best.pt", 1)]
)
def test_a_run_killed_around_any_write_ends_with_the_same_bits(
    name, count, after, digits, tmp_path, monkeypatch, uninterrupted
):
    with monkeypatch.context() as patch:
        kill_in_write(patch, name, after=after, count=count)
        with pytest.raises(Killed):
            run(digits, tmp_path)
    vae, history = run(digits, tmp_path)
    assert_same_run(tmp_path, vae, history, uninterrupted)


def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_same_bits(
    digits, tmp_path, monkeypatch, uninterrupted
):
    evaluate, calls = Objective.__call__, [0]

    def dying(*args, **options):
        calls[0] += 1
        if calls[0] == 24:  # seven calls an epoch: five steps and two batches of validation images
            raise Killed
        return evaluate(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "__call__", dying)
        with pytest.raises(Killed):
            run(digits, tmp_path)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 3
    vae, history = run(digits, tmp_path)
    assert_same_run(tmp_path, vae, history, uninterrupted)


def test_a_process_killed_by_sigkill_resumes_to_the_same_bits(digits, tmp_path):
    script = """
        import dataclasses, sys, torch
        from infoplane_torch import presets
        from infoplane_torch.data import load
        from infoplane_torch.training import TrainingConfig, train

        torch.set_num_threads(1)
        digits = load("digits")
        digits = dataclasses.replace(digits, train=digits.train[:150], valid=digits.valid[:50])
        torch.manual_seed(0)
        sizes = {"event_shape": (1, 8, 8), "hidden": (16,), "latent_dim": 3}
        vae, objective = presets.build(presets.fae(20.0, 1.0, **sizes))
        config = TrainingConfig(
            epochs=60, batch_size=32, warmup_epochs=3, patience=None, accelerator="cpu", seed=5,
            checkpoint_seconds=0,
        )
        train(vae, objective, digits, config, sys.argv[1], progress=False)
    """
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder)]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 100
        while not (folder / "history.csv").exists() or len((folder / "history.csv").read_text()) < 5_000:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    reached = torch.load(folder / "last.pt", weights_only=True)["epoch"]
    assert 1 < reached < 60
    config = dataclasses.replace(CONFIG, epochs=60)
    resumed, history = run(digits, folder, config=config)
    whole, expected = run(digits, tmp_path / "whole", config=config)
    assert fingerprint(resumed) == fingerprint(whole)
    assert without_seconds(history) == without_seconds(expected)


def test_a_half_written_temporary_file_is_ignored(digits, tmp_path, uninterrupted):
    (tmp_path / "last.pt.tmp").write_bytes(b"half a check")
    vae, history = run(digits, tmp_path)
    assert_same_run(tmp_path, vae, history, uninterrupted)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_finished_run_can_be_made_longer_as_if_it_had_been_so_from_the_start(
    digits, tmp_path, uninterrupted
):
    run(digits, tmp_path, config=dataclasses.replace(CONFIG, epochs=2))
    vae, history = run(digits, tmp_path)
    assert_same_run(tmp_path, vae, history, uninterrupted)


def test_a_run_stopped_by_the_clock_goes_on_as_if_it_had_not_been(digits, tmp_path, uninterrupted):
    rare = dataclasses.replace(CONFIG, checkpoint_seconds=1000)
    for epoch in (1, 2):
        _, history = run(digits, tmp_path, config=rare, max_seconds=0)
        assert len(history.rows) == epoch
        assert not is_finished(history, rare)
    vae, history = run(digits, tmp_path, config=CONFIG)
    assert is_finished(history, CONFIG)
    assert_same_run(tmp_path, vae, history, uninterrupted)


def test_a_finished_run_is_not_trained_again(digits, tmp_path, monkeypatch):
    vae, history = run(digits, tmp_path)
    monkeypatch.setattr(Objective, "__call__", None)
    again, same = run(digits, tmp_path)
    assert same == history
    assert fingerprint(again) == fingerprint(vae)


def test_two_trainings_in_one_folder_are_a_clear_error(digits, tmp_path, monkeypatch, uninterrupted):
    add = TrainingRun.add

    def while_it_runs(self, row):
        monkeypatch.setattr(TrainingRun, "add", add)
        with pytest.raises(RuntimeError, match=f"another is going on in {tmp_path}"):
            run(digits, tmp_path, resume=False)
        add(self, row)

    monkeypatch.setattr(TrainingRun, "add", while_it_runs)
    vae, history = run(digits, tmp_path)
    assert_same_run(tmp_path, vae, history, uninterrupted)
    run(digits, tmp_path)  # and it is free again


def test_without_resume_a_run_starts_anew(digits, tmp_path, uninterrupted):
    run(digits, tmp_path, fisher=1.0)
    vae, history = run(digits, tmp_path, resume=False)
    assert_same_run(tmp_path, vae, history, uninterrupted)


def test_resuming_under_another_configuration_is_a_clear_error(digits, tmp_path):
    run(digits, tmp_path)
    with pytest.raises(ValueError, match=r"another configuration: it was\n.*0\.001.*\nand is now\n.*0\.002"):
        run(digits, tmp_path, config=dataclasses.replace(CONFIG, learning_rate=0.002))
    with pytest.raises(ValueError, match="another objective"):
        run(digits, tmp_path, fisher=1.0)
    with pytest.raises(ValueError, match="another data"):
        run(dataclasses.replace(digits, train=digits.train[:149]), tmp_path)
    torch.manual_seed(0)
    vae, objective = presets.build(presets.fae(20.0, 1.0, event_shape=(1, 8, 8), hidden=(17,), latent_dim=3))
    with pytest.raises(ValueError, match="another model"):
        train(vae, objective, digits, CONFIG, tmp_path, progress=False)


def test_a_checkpoint_holds_no_code(uninterrupted):
    folder, vae, history = uninterrupted
    checkpoint = torch.load(folder / "last.pt", weights_only=True)
    assert checkpoint["epoch"] == len(history.rows) == CONFIG.epochs
    assert set(checkpoint["optimizer"]["state"]) == set(range(len([*vae.parameters()])))
    vae.load_state_dict(torch.load(folder / "best.pt", weights_only=True))


def test_training_raises_the_elbo_and_the_table_holds_what_the_history_holds(uninterrupted):
    folder, _, history = uninterrupted
    assert history.rows[-1]["valid_elbo"] > history.rows[0]["valid_elbo"] + 1
    with (folder / "history.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == list(history.rows)
    for row in history.rows:
        for split in ("train", "valid"):
            elbo = row[f"{split}_reconstruction"] - row[f"{split}_kl"]
            penalized = -row[f"{split}_reconstruction"] + row["beta"] * row[f"{split}_kl"]
            assert row[f"{split}_elbo"] == pytest.approx(elbo, rel=1e-5)
            assert row[f"{split}_loss"] == pytest.approx(
                penalized + row[f"{split}_penalty_fisher_posterior"], rel=1e-5
            )
            product = row[f"{split}_entropy_power"] * row[f"{split}_fisher_trace_mean"]
            assert row[f"{split}_product"] == pytest.approx(product)
            assert product >= 1


def test_the_last_row_describes_the_model_on_the_validation_images(digits, tmp_path):
    vae, history = run(digits, tmp_path, config=dataclasses.replace(CONFIG, epochs=1))
    posterior = vae.encode(digits.evaluation_images("valid"))
    variance = posterior.variance.detach().double()
    entropy = 0.5 * torch.log(2 * math.pi * math.e * variance).sum(-1).mean()
    row = history.rows[-1]
    assert row["valid_posterior_entropy"] == pytest.approx(float(entropy), rel=1e-5)
    assert row["valid_fisher_trace_mean"] == pytest.approx(float((1 / variance).mean()), rel=1e-5)
    power = math.exp(2 / 3 * float(entropy)) / (2 * math.pi * math.e)
    assert row["valid_entropy_power"] == pytest.approx(power, rel=1e-5)
    assert history.trajectory == [
        TrajectoryPoint(1, row["valid_entropy_power"], 3 * row["valid_fisher_trace_mean"], 3)
    ]


def test_the_warm_up_is_linear_and_ends_at_one(uninterrupted):
    assert uninterrupted[2].column("beta") == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1])
    assert TrainingConfig(warmup_epochs=0).beta(1) == 1


def test_training_leaves_the_callers_random_state_and_does_not_depend_on_it(digits, tmp_path, uninterrupted):
    vae, objective = build()
    torch.manual_seed(99)
    state = torch.get_rng_state()
    history = train(vae, objective, digits, CONFIG, tmp_path, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_run(tmp_path, vae, history, uninterrupted)


def test_validation_does_not_disturb_training(digits, tmp_path, uninterrupted):
    _, history = run(dataclasses.replace(digits, valid=digits.valid[:7]), tmp_path)
    for row, expected in zip(history.rows, uninterrupted[2].rows, strict=True):
        assert row["train_loss"] == expected["train_loss"]
        assert row["valid_loss"] != expected["valid_loss"]


def test_early_stopping_counts_from_the_warm_up_and_restores_the_best_weights(digits, tmp_path):
    few = dataclasses.replace(digits, train=digits.train[:32])  # overfits at once
    config = dataclasses.replace(CONFIG, epochs=400, warmup_epochs=5, patience=10, learning_rate=0.01)
    vae, history = run(few, tmp_path / "long", config=config)
    assert len(history.rows) == history.best_epoch + 10 < 400
    best = dataclasses.replace(config, epochs=history.best_epoch)
    expected, _ = run(few, tmp_path / "best", config=best)
    assert fingerprint(vae) == fingerprint(expected)
    assert fingerprint(vae) != fingerprint_of(last_weights(tmp_path / "long"))
    assert not vae.training


def fingerprint_of(weights: dict[str, torch.Tensor]) -> str:
    vae, _ = build()
    vae.load_state_dict(weights)
    return fingerprint(vae)


def test_early_stopping_waits_for_the_end_of_the_warm_up(digits, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=50, warmup_epochs=8, patience=2, learning_rate=1e-9)
    _, history = run(digits, tmp_path, config=config)
    assert len(history.rows) >= 10


def test_a_diverging_run_stops_and_names_the_last_good_checkpoint(digits, tmp_path):
    bad = dataclasses.replace(CONFIG, learning_rate=1e30)
    with pytest.raises(DivergenceError, match=r"in epoch 1, step 2; there is no checkpoint yet"):
        run(digits, tmp_path, config=bad)
    assert not (tmp_path / "last.pt").exists()


def test_divergence_after_some_epochs_leaves_the_last_good_checkpoint(digits, tmp_path, monkeypatch):
    run(digits, tmp_path, config=dataclasses.replace(CONFIG, epochs=2))
    evaluate = Objective.__call__

    def diverging(*args, **options):
        terms = evaluate(*args, **options)
        return dataclasses.replace(terms, loss=terms.loss * math.nan)

    monkeypatch.setattr(Objective, "__call__", diverging)
    with pytest.raises(
        DivergenceError, match=r"loss nan, .* in epoch 3, step 1; .* checkpoint is .*last\.pt"
    ):
        run(digits, tmp_path)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] == 2


def test_the_gradient_is_clipped(digits, tmp_path):
    vae, _ = run(digits, tmp_path, config=dataclasses.replace(CONFIG, epochs=1, clip_norm=1e-12))
    initial, _ = build()
    for value, before in zip(vae.parameters(), initial.parameters(), strict=True):
        assert (value - before).abs().max() < 1e-5  # Adam's ε = 1e-8 is far above such a gradient


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_tensorboard_shows_each_epoch_once_after_a_kill(after, digits, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_in_write(patch, "last.pt", after=after, count=4)
        with pytest.raises(Killed):
            run(digits, tmp_path)
    run(digits, tmp_path)
    log = EventAccumulator(str(tmp_path))
    log.Reload()
    assert [event.step for event in log.Scalars("elbo/valid")] == [*range(1, CONFIG.epochs + 1)]


def test_mixed_precision_trains_to_nearly_the_same_elbo(digits, tmp_path, uninterrupted):
    _, history = run(digits, tmp_path, config=dataclasses.replace(CONFIG, precision="bf16-mixed"))
    assert history.rows[-1]["valid_elbo"] == pytest.approx(uninterrupted[2].rows[-1]["valid_elbo"], rel=0.02)


def test_a_gaussian_likelihood_trains_on_grey_levels(digits, tmp_path):
    torch.manual_seed(0)
    sizes = {"event_shape": (1, 8, 8), "hidden": (16,), "latent_dim": 3}
    vae, objective = presets.build(presets.vae(likelihood="gaussian", **sizes))
    config = dataclasses.replace(CONFIG, binarize=False)
    history = train(vae, objective, digits, config, tmp_path, progress=False)
    assert history.rows[-1]["valid_elbo"] > history.rows[0]["valid_elbo"]


def test_progress_can_be_silenced(digits, tmp_path, capfd):
    run(digits, tmp_path, config=dataclasses.replace(CONFIG, epochs=1))
    assert capfd.readouterr() == ("", "")
    vae, objective = build()
    train(vae, objective, digits, dataclasses.replace(CONFIG, epochs=2), tmp_path)
    assert "2/2" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1, got 0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"warmup_epochs": -1}, "`warmup_epochs` must be at least 0, got -1"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"patience": 0}, "`patience` must be at least 1 or None, got 0"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive, got 0.0"),
        ({"clip_norm": math.nan}, "`clip_norm` must be positive, got nan"),
        ({"precision": "16"}, "`precision` must be one of"),
        ({"accelerator": "gpu0"}, "`accelerator` must be one of"),
        ({"dequantize": True}, "`dequantize` must have grey levels, got `binarize` = True"),
    ],
)
def test_a_bad_configuration_is_a_clear_error(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**options)


def test_an_empty_history_has_no_best_epoch():
    assert History(2).best_epoch == 0
    assert History(2).trajectory == []


def build_with_state():
    """A model under all kinds of penalties that have a state: a multiplier and a network."""
    torch.manual_seed(0)
    model, _ = presets.build(presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=3))
    reverse = DiagonalGaussian(MLP(64, 6, hidden=(16,)))
    penalties = {
        "fisher": FisherInformation(20, 1.0, form="lagrangian"),
        "information": MutualInformation(2, 1.0, decode=model.decode, reverse=reverse),
        "mmd": MMD(10.0),
    }
    return model, Objective(penalties, beta=2.0, free_bits=0.1)


def run_with_state(digits, folder, epochs):
    vae, objective = build_with_state()
    config = dataclasses.replace(CONFIG, epochs=epochs)
    return vae, objective, train(vae, objective, digits, config, folder, progress=False)


def test_multipliers_and_networks_of_penalties_resume_to_the_same_bits(digits, tmp_path):
    run_with_state(digits, tmp_path / "cut", 2)
    vae, objective, history = run_with_state(digits, tmp_path / "cut", 4)
    expected_vae, expected_objective, expected_history = run_with_state(digits, tmp_path / "whole", 4)
    assert fingerprint(vae) == fingerprint(expected_vae)
    assert fingerprint(objective.modules) == fingerprint(expected_objective.modules)
    assert without_seconds(history) == without_seconds(expected_history)
    _, fresh = build_with_state()
    for name, value in objective.modules.state_dict().items():
        assert not torch.equal(value, fresh.modules.state_dict()[name]), name
    assert not objective.modules.training


def test_penalties_are_left_as_they_were_in_the_best_epoch_of_the_model(digits, tmp_path):
    few = dataclasses.replace(digits, train=digits.train[:32])  # overfits at once
    config = dataclasses.replace(CONFIG, epochs=25, warmup_epochs=0, learning_rate=0.03)
    vae, objective = build_with_state()
    history = train(vae, objective, few, config, tmp_path / "long", progress=False)
    assert history.best_epoch < 25
    expected_vae, expected = build_with_state()
    best = dataclasses.replace(config, epochs=history.best_epoch)
    train(expected_vae, expected, few, best, tmp_path / "best", progress=False)
    assert fingerprint(vae) == fingerprint(expected_vae)
    assert fingerprint(objective.modules) == fingerprint(expected.modules)


def test_what_penalties_let_see_is_in_the_history_and_the_best_weights_are_the_models_alone(digits, tmp_path):
    vae, _, history = run_with_state(digits, tmp_path, 2)
    for split in ("train", "valid"):
        assert all(math.isfinite(row[f"{split}_information_bound"]) for row in history.rows)
    # Validation leaves the multiplier where the epoch's last step took it.
    first, second = history.column("valid_fisher_multiplier")
    assert second < first < 0  # J is below F, and the pull towards it grows
    assert set(torch.load(tmp_path / "best.pt", weights_only=True)) == set(vae.state_dict())


def test_a_checkpoint_from_before_penalties_had_a_state_is_resumed(digits, tmp_path, uninterrupted):
    run(digits, tmp_path, config=dataclasses.replace(CONFIG, epochs=3))
    checkpoint = torch.load(tmp_path / "last.pt", weights_only=True)
    assert checkpoint.pop("penalties") == checkpoint.pop("best_penalties") == {}
    torch.save(checkpoint, tmp_path / "last.pt")
    vae, history = run(digits, tmp_path)
    assert_same_run(tmp_path, vae, history, uninterrupted)


@pytest.mark.parametrize(
    "options",
    [
        {"hidden": (16,)},
        {"likelihood": "pixel_cnn", "pixel_channels": 4, "pixel_layers": 1, "hidden": (16,)},
        {"likelihood": "logistic_mixture", "levels": 16, "hidden": (16,)},
    ],
)
def test_images_outside_of_the_support_of_the_likelihood_are_an_error_before_the_first_step(
    options, digits, tmp_path
):
    grey = dataclasses.replace(CONFIG, binarize=False)
    model = presets.build(presets.vae(event_shape=digits.shape, latent_dim=2, **options))
    with pytest.raises(ValueError, match=r"`data.train` must lie in the support of the likelihood"):
        train(*model, digits, grey, tmp_path / "one", progress=False)
    with pytest.raises(ValueError, match=r"`data.train` must lie in the support of the likelihood"):
        train_together([model], digits, [grey], [tmp_path / "two"], progress=False)
    assert not list(tmp_path.iterdir())


def test_a_density_of_binary_pixels_is_warned_of_and_one_of_dequantised_levels_is_not(digits, tmp_path):
    sizes = {"event_shape": digits.shape, "hidden": (16,), "latent_dim": 2, "likelihood": "gaussian"}
    model = presets.build(presets.vae(**sizes))
    config = dataclasses.replace(CONFIG, epochs=3)
    with pytest.warns(InfoplaneWarning, match="the likelihood is a density, and the pixels are only 0 and 1"):
        train(*model, digits, config, tmp_path / "binary", progress=False)
    config = dataclasses.replace(config, binarize=False, dequantize=True)
    history = train(*presets.build(presets.vae(**sizes)), digits, config, tmp_path / "grey", progress=False)
    again = presets.build(presets.vae(**sizes))
    assert train(*again, digits, config, tmp_path / "grey", progress=False) == history  # it can be resumed


def test_a_warm_up_that_does_not_end_is_warned_of(digits, tmp_path):
    vae, objective = build()
    config = dataclasses.replace(CONFIG, epochs=2, warmup_epochs=8)
    with pytest.warns(InfoplaneWarning, match=r"takes 8 epochs, and there are 2: β ends at 0\.25"):
        train(vae, objective, digits, config, tmp_path, progress=False)


def test_options_that_came_later_do_not_make_older_runs_others(digits, tmp_path):
    vae, objective = build()
    config = dataclasses.replace(CONFIG, epochs=3)
    train(vae, objective, digits, config, tmp_path, progress=False)
    identity = torch.load(tmp_path / "last.pt", weights_only=True)["identity"]
    assert "dequantize" not in identity["configuration"]
    assert "dequantize" in dataclasses.replace(config, binarize=False, dequantize=True).to_dict()
