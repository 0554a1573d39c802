"""Models trained side by side: each is what it is alone, whatever happens to the others."""

import csv
import dataclasses
import math
import os

import pytest
import torch
from lightning_fabric import Fabric

from infoplane.errors import InfoplaneWarning
from infoplane_torch import presets, training_loop
from infoplane_torch.__main__ import main
from infoplane_torch.data import batches, load
from infoplane_torch.discrepancy import MMD
from infoplane_torch.member_calls import MemberCalls
from infoplane_torch.objective import Objective
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.runs import Run, RunConfig, load_run, start_run, start_runs
from infoplane_torch.stacked_loss import StackedLoss
from infoplane_torch.training import DivergenceError, TrainingConfig, train, train_together
from infoplane_torch.training_loss import Loss
from infoplane_torch.training_step import TrainingStep

SIZES = {"event_shape": (1, 8, 8), "hidden": (16,), "latent_dim": 3}
FEW = {
    "channels": (4, 4), "flow_hidden": (8,), "flow_steps": 2, "pseudo_inputs": 6, "pixel_channels": 4,
    "pixel_layers": 2,
}  # fmt: skip
CONFIG = TrainingConfig(
    epochs=4, batch_size=32, warmup_epochs=2, patience=None, accelerator="cpu", checkpoint_seconds=0
)
SEEDS = (3, 3, 4)  # two share the order of images and the noise
CURVE = [
    presets.fae(fisher, weight, beta=beta, **SIZES)
    for fisher, weight, beta in ((0, 1, 1), (5, 0.1, 2), (20, 10, 0.5))
]

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:the warm-up of"),  # few epochs are enough to stop and go on
]


def build(model: presets.ModelConfig, seed: int):
    torch.manual_seed(seed)
    return presets.build(model)


def together(models, data, folder, *, config=CONFIG, seeds=SEEDS, **options):
    """Train them side by side; their weights and how they ended."""
    built = [build(model, seed) for model, seed in zip(models, seeds, strict=True)]
    configs = [dataclasses.replace(config, seed=seed) for seed in seeds]
    folders = [folder / str(number) for number in range(len(models))]
    ends = train_together(built, data, configs, folders, progress=False, **options)
    return [vae for vae, _ in built], ends


def alone(number, models, data, folder, *, config=CONFIG, seeds=SEEDS):
    """Train one of them by itself, in the folder that it would have in the stack."""
    vae, objective = build(models[number], seeds[number])
    config = dataclasses.replace(config, seed=seeds[number])
    return vae, train(vae, objective, data, config, folder / str(number), progress=False)


def last(folder, number=0):
    return torch.load(folder / str(number) / "last.pt", weights_only=True)


def without_seconds(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history.rows]


def assert_same(history, expected, rel):
    """Each number of each epoch; `nan` where that is what is known."""
    for row, wanted in zip(without_seconds(history), without_seconds(expected), strict=True):
        assert row == pytest.approx(wanted, rel=rel, abs=1e-4, nan_ok=True)


# --- A step, in float64 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "models",
    [
        CURVE,
        [presets.fae(fisher, 10.0, form="lagrangian", **SIZES) for fisher in (1, 5, 20)],
        [presets.mae(nats, weight, **SIZES) for nats, weight in ((1, 1), (5, 0.1), (10, 2))],
        [presets.fae(fisher, 1.0, posterior="full", prior="vamp", **SIZES, **FEW) for fisher in (0, 5, 20)],
    ],
    ids=["abs", "lagrangian", "mae", "full and vamp"],
)
def test_twelve_steps_of_a_stack_are_those_of_each_model_alone_in_float64(models, digits):
    losses = [Loss(*build(model, seed)).double() for model, seed in zip(models, SEEDS, strict=True)]
    singles = [Loss(*build(model, seed)).double() for model, seed in zip(models, SEEDS, strict=True)]
    stack = StackedLoss(losses)
    stack.seed([10, 11, 12])
    images = [x.double() for x in batches(digits.train, 20, seed=SEEDS, epoch=1, binary=False)]
    assert len(images) == 8
    for x in [*images, *images[:4]]:  # the eighth is smaller
        take_step(stack, x, clip_norm=5.0)
    for number, single in enumerate(singles):
        single.seed([10 + number])
        for x in [*images, *images[:4]]:
            take_step(single, x[number], clip_norm=5.0)
        expected = dict(single.named_parameters()) | dict(single.named_buffers())
        mine = dict(losses[number].named_parameters()) | dict(losses[number].named_buffers())
        for name, value in expected.items():
            torch.testing.assert_close(mine[name], value, rtol=1e-9, atol=1e-11, msg=name)


def take_step(loss, x, *, clip_norm):
    """A step by `TrainingStep`, whose Adam and whose sums live on the loss."""
    if not hasattr(loss, "taken"):
        adam = torch.optim.Adam(loss.parameters(), lr=0.01, fused=True)
        fabric = Fabric(accelerator="cpu", devices=1)
        options = {"shape": loss.shape, "generators": loss.generators}
        loss.taken = TrainingStep(
            fabric, loss, adam, clip_norm=clip_norm, average=None, record=False, **options
        )
        loss.taken.begin_epoch(beta=0.5, learning_rate=0.01)
        loss.taken._beta = loss.taken._beta.double()
    loss.taken(x)


def test_gradients_of_a_member_know_nothing_of_the_others():
    losses = [Loss(*build(model, seed)) for model, seed in zip(CURVE, SEEDS, strict=True)]
    stack = StackedLoss(losses)
    x = (torch.rand(3, 7, 1, 8, 8) < 0.3).float()
    rows = []
    for value in (1.0, math.nan):
        stack.seed([0, 1, 2])
        x[1] *= value
        stack.weights.grad = None
        stack(x, torch.tensor(1.0))[0].backward()
        rows.append(stack.weights.grad)
    assert torch.equal(rows[0][[0, 2]], rows[1][[0, 2]])
    assert rows[1][1].isnan().any()


# --- Whole runs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "options"),
    [
        (CURVE, {"ema_decay": 0.9, "schedule": "cosine"}),
        pytest.param([presets.iaf_vae(**SIZES, **FEW)] * 3, {}, marks=pytest.mark.slow),
        ([presets.mae(nats, 1, likelihood="gaussian", **SIZES) for nats in (1, 5, 9)], {"binarize": False}),
        ([presets.fae(f, 1, network="gated_conv", prior="realnvp", **SIZES, **FEW) for f in (0, 5, 20)], {}),
        pytest.param(
            [presets.vae(beta=beta, likelihood="pixel_cnn", **SIZES, **FEW) for beta in (0.5, 1, 2)],
            {},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["fae, averaged weights", "iaf", "mae, gaussian", "gated convolutions, realnvp", "pixel cnn"],
)
def test_each_run_of_a_stack_is_the_run_alone(models, options, digits, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=3, **options)
    vaes, histories = together(models, digits, tmp_path / "stack", config=config)
    for number in (0, 2):
        vae, history = alone(number, models, digits, tmp_path / "alone", config=config)
        assert_same(histories[number], history, rel=1e-4)
        for value, expected in zip(vaes[number].parameters(), vae.parameters(), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-4)
        assert not vaes[number].training
        mine, theirs = last(tmp_path / "stack", number), last(tmp_path / "alone", number)
        assert mine.keys() == theirs.keys()
        assert mine["identity"] == theirs["identity"]
        assert mine["best_model"].keys() == theirs["best_model"].keys()
        size, expected_size = (
            (tmp_path / f / str(number) / "last.pt").stat().st_size for f in ("stack", "alone")
        )
        assert size < 1.1 * expected_size  # no more than a model's own tensors


def test_the_noise_of_mixed_precision_is_that_of_each_seed_too(digits, tmp_path):
    config = dataclasses.replace(CONFIG, precision="bf16-mixed")
    _, histories = together(CURVE, digits, tmp_path / "stack", config=config)
    _, history = alone(2, CURVE, digits, tmp_path / "alone", config=config)
    assert_same(histories[2], history, rel=0.02)  # bfloat16 has eight bits


def test_members_of_one_seed_see_the_same_images_and_others_do_not(digits):
    for x in batches(digits.train, 32, seed=SEEDS, epoch=2, binary=False):
        assert torch.equal(x[0], x[1])
        assert not torch.equal(x[0], x[2])
    several = batches(digits.train, 32, seed=SEEDS, epoch=2, binary=False)
    single = batches(digits.train, 32, seed=SEEDS[2], epoch=2, binary=False)
    assert all(torch.equal(x[2], y) for x, y in zip(several, single, strict=True))


# --- Stops, kills, divergence -----------------------------------------------------------------------------


def test_a_model_that_stops_early_is_frozen_and_the_others_go_on(digits, tmp_path):
    few = dataclasses.replace(digits, train=digits.train[:32])  # overfits at once
    config = dataclasses.replace(
        CONFIG, epochs=60, warmup_epochs=0, patience=2, learning_rate=0.03, checkpoint_seconds=60
    )
    vaes, histories = together(CURVE, few, tmp_path / "stack", config=config)
    lengths = [len(history.rows) for history in histories]
    assert len(set(lengths)) > 1
    assert max(lengths) < 60
    for number in range(3):
        vae, history = alone(number, CURVE, few, tmp_path / "alone", config=config)
        assert len(history.rows) == lengths[number]
        assert histories[number].best_epoch == history.best_epoch
        for value, expected in zip(vaes[number].parameters(), vae.parameters(), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-2, atol=1e-3)
        best = torch.load(tmp_path / "stack" / str(number) / "best.pt", weights_only=True)
        assert all(torch.equal(best[name], value) for name, value in vaes[number].state_dict().items())


def test_a_diverging_model_neither_stops_nor_harms_the_others(digits, tmp_path):
    models = [CURVE[0], presets.fae(5, 1e38, **SIZES), CURVE[2]]
    config = dataclasses.replace(CONFIG, clip_norm=math.inf, learning_rate=0.01)
    with pytest.warns(InfoplaneWarning, match=r"/1: training has diverged: loss .* in epoch 1, step \d"):
        _, ends = together(models, digits, tmp_path / "stack", config=config)
    assert isinstance(ends[1], DivergenceError)
    assert "there is no checkpoint yet" in str(ends[1])
    assert not (tmp_path / "stack" / "1" / "last.pt").exists()
    for number in (0, 2):
        _, history = alone(number, models, digits, tmp_path / "alone", config=config)
        assert_same(ends[number], history, rel=1e-4)


def test_all_models_may_diverge(digits, tmp_path):
    config = dataclasses.replace(CONFIG, learning_rate=1e30)
    with pytest.warns(InfoplaneWarning):
        _, ends = together(CURVE, digits, tmp_path, config=config)
    assert all(isinstance(end, DivergenceError) for end in ends)


def test_a_validation_elbo_that_is_not_finite_ends_a_run_and_no_other(digits, tmp_path, monkeypatch):
    evaluate = training_loop._validate

    def spoilt(*arguments):
        means = evaluate(*arguments)
        means.sums[means._names.index("elbo"), : first.pop()] = torch.nan
        return means

    monkeypatch.setattr(training_loop, "_validate", spoilt)
    for broken in (1, 3):
        first = [0, 0, 0, broken]  # of the four validations, taken from the end
        with pytest.warns(
            InfoplaneWarning, match="validation ELBO nan after epoch 1; there is no checkpoint"
        ):
            _, ends = together(CURVE, digits, tmp_path / str(broken), config=CONFIG)
        lengths = [0 if isinstance(end, DivergenceError) else len(end.rows) for end in ends]
        assert lengths == [0] * broken + [4] * (3 - broken)


class Killed(BaseException):
    """Stands for a SIGKILL inside of one process: nothing catches it."""


@pytest.mark.parametrize(
    "count", [pytest.param(2, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow), 9]
)
def test_a_stack_killed_between_the_files_of_its_members_ends_with_the_same_bits(
    count, digits, tmp_path, monkeypatch
):
    models = [presets.fae(fisher, 10.0, form="lagrangian", **SIZES) for fisher in (1, 5, 20)]
    config = dataclasses.replace(CONFIG, ema_decay=0.9)
    vaes, histories = together(models, digits, tmp_path / "whole", config=config)
    replace, seen = os.replace, [0]

    def dying_replace(source, target):
        seen[0] += str(target).endswith("last.pt")
        if seen[0] == count:
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying_replace)
        with pytest.raises(Killed):
            together(models, digits, tmp_path / "cut", config=config)
    resumed, again = together(models, digits, tmp_path / "cut", config=config)
    for number in range(3):
        assert without_seconds(again[number]) == without_seconds(histories[number])
        for value, expected in zip(resumed[number].parameters(), vaes[number].parameters(), strict=True):
            assert torch.equal(value, expected)
        mine, theirs = last(tmp_path / "cut", number), last(tmp_path / "whole", number)
        assert all(torch.equal(mine["model"][name], value) for name, value in theirs["model"].items())


def test_a_run_begun_alone_goes_on_beside_others_and_the_reverse(digits, tmp_path):
    short = dataclasses.replace(CONFIG, epochs=2)
    alone(1, CURVE, digits, tmp_path / "mixed", config=short)
    _, histories = together(CURVE, digits, tmp_path / "mixed")
    together(CURVE, digits, tmp_path / "reverse", config=short)
    _, history = alone(1, CURVE, digits, tmp_path / "reverse")
    _, expected = alone(1, CURVE, digits, tmp_path / "alone")
    for found in (histories[1], history):
        assert_same(found, expected, rel=1e-4)


def test_a_finished_stack_is_not_trained_again_and_can_be_made_longer(digits, tmp_path, monkeypatch):
    _, short = together(CURVE, digits, tmp_path, config=dataclasses.replace(CONFIG, epochs=2))
    with monkeypatch.context() as patch:
        patch.setattr(Objective, "__call__", None)
        _, same = together(CURVE, digits, tmp_path, config=dataclasses.replace(CONFIG, epochs=2))
    assert same == short
    _, longer = together(CURVE, digits, tmp_path)
    assert [len(history.rows) for history in longer] == [4, 4, 4]
    with (tmp_path / "2" / "history.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2, 3, 4]


def test_a_frozen_layer_stays_as_it_is(digits, tmp_path):
    built = [build(model, seed) for model, seed in zip(CURVE, SEEDS, strict=True)]
    before = []
    for vae, _ in built:
        first = next(vae.parameters()).requires_grad_(False)
        before.append(first.clone())
    configs = [dataclasses.replace(CONFIG, seed=seed) for seed in SEEDS]
    ends = train_together(built, digits, configs, [tmp_path / str(i) for i in range(3)], progress=False)
    for (vae, _), first in zip(built, before, strict=True):
        assert torch.equal(next(vae.parameters()), first)
    vae, objective = build(CURVE[1], SEEDS[1])
    next(vae.parameters()).requires_grad_(False)
    assert_same(ends[1], train(vae, objective, digits, configs[1], tmp_path / "alone", progress=False), 1e-4)


def test_models_are_their_own_again_afterwards(digits, tmp_path):
    vaes, _ = together(CURVE, digits, tmp_path, config=dataclasses.replace(CONFIG, epochs=1))
    storages = {value.untyped_storage().data_ptr() for vae in vaes for value in vae.parameters()}
    assert len(storages) == sum(len([*vae.parameters()]) for vae in vaes)


# --- What cannot be stacked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"hidden": (17,)}, r"(?s)one architecture, but number 1 .*features=17.*instead of.*features=16"),
        ({"latent_dim": 2}, "`models` must have one architecture"),
        ({"activation": "relu"}, r"(?s)`models` must have one architecture.*ReLU.*instead of.*ELU"),
        ({"penalties": ()}, "`models` must have one objective, but for its numbers"),
        ({"penalties": (FisherInformation(20, 1.0, form="hinge"),)}, r"(?s)one objective.*'hinge'.*'abs'"),
        ({"free_bits": 0.1}, "`models` must have one objective, but for its numbers"),
    ],
)
def test_models_that_differ_in_more_than_numbers_are_a_clear_error(other, message, digits, tmp_path):
    models = [build(CURVE[0], 0), build(dataclasses.replace(CURVE[0], **other), 1)]
    with pytest.raises(ValueError, match=message):
        train_together(models, digits, [CONFIG] * 2, [tmp_path / "a", tmp_path / "b"], progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 16}, "`configs` may differ in `seed` alone, but number 1 has batch_size=16"),
        ({"epochs": 9}, "`configs` may differ in `seed` alone, but number 1 has epochs=9"),
    ],
)
def test_configurations_may_differ_in_their_seeds_alone(options, message, digits, tmp_path):
    configs = [CONFIG, dataclasses.replace(CONFIG, seed=7, **options)]
    models = [build(model, 0) for model in CURVE[:2]]
    with pytest.raises(ValueError, match=message):
        train_together(models, digits, configs, [tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compile": True}, "`compile` must be False to train models together"),
        ({"devices": 2}, "`devices` must be 1 to train models together, got 2"),
        ({"schedule": "plateau"}, '`schedule` must not be "plateau"'),
    ],
)
def test_what_a_stack_cannot_do_is_a_clear_error(options, message, digits, tmp_path):
    config = dataclasses.replace(CONFIG, **options)
    with pytest.raises(ValueError, match=message):
        together(CURVE, digits, tmp_path, config=config)


def test_shared_models_folders_and_wrong_numbers_of_them_are_clear_errors(digits, tmp_path):
    model, other = build(CURVE[0], 0), build(CURVE[1], 1)
    with pytest.raises(ValueError, match="`models` must not share parameters or buffers"):
        train_together([model, model], digits, [CONFIG] * 2, [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ValueError, match="`run_dirs` must be distinct"):
        train_together([model, other], digits, [CONFIG] * 2, [tmp_path, tmp_path])
    with pytest.raises(ValueError, match="must be as many, at least one, got 2, 1 and 2"):
        train_together([model, other], digits, [CONFIG], [tmp_path / "a", tmp_path / "b"])


def test_what_vmap_cannot_do_is_a_clear_error(digits, tmp_path):
    models = [presets.fae(f, 1.0, posterior="iaf", num_samples=2, **SIZES, **FEW) for f in (1, 5)]
    with pytest.raises(ValueError, match=r"torch\.vmap can train them together; train each alone: "):
        together(models, digits, tmp_path, seeds=(0, 1))


def test_a_random_function_that_is_not_known_is_a_clear_error(digits, tmp_path):
    class Dropping(presets.VAE):
        def forward(self, x):
            return super().forward(torch.nn.functional.dropout(x, 0.5))

    models = []
    for seed in (0, 1):
        vae, objective = build(CURVE[0], seed)
        models.append((Dropping(vae.posterior, vae.likelihood, vae.prior), objective))
    with pytest.raises(ValueError, match="train each alone: vmap: called random operation"):
        train_together(models, digits, [CONFIG] * 2, [tmp_path / "a", tmp_path / "b"], progress=False)


# --- Draws ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw",
    [
        lambda p: torch.normal(p, 2 * p),
        torch.bernoulli,
        lambda p: torch.multinomial(p.flatten(1), 3, replacement=True),
        lambda p: torch.randn(3, 20),
        lambda p: torch.rand(3, 20),
        torch.randn_like,
        torch.rand_like,
        lambda p: torch.empty(3, 20).normal_(),
        lambda p: torch.distributions.Normal(p, 1.0).rsample((2,)),
    ],
)
def test_each_member_calls_what_it_would_draw_alone(draw):
    p = torch.rand(4, 3, 20)
    generators = [torch.Generator().manual_seed(seed) for seed in range(4)]

    def member(index, p):
        with MemberCalls(generators, index):
            return draw(p), draw(p)

    found = torch.vmap(member, randomness="error")(torch.arange(4), p)
    for seed in range(4):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for stacked in found:
                assert torch.equal(stacked[seed], draw(p[seed]))


def test_what_is_drawn_in_place_cannot_be_taken_for_noise():
    def member(index):
        with MemberCalls([torch.Generator()] * 2, index):
            x = torch.empty(3)
            x.normal_()
            return x

    assert torch.vmap(member)(torch.arange(2)).isnan().all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 2), (2,)])
def test_a_batched_linear_layer_and_its_derivatives_are_those_of_each_member(bias, shape):
    x, weight, b = torch.randn(3, *shape).double(), torch.randn(3, 4, 2).double(), torch.randn(3, 4).double()
    b = b if bias else None

    def member(index, x, weight, b):
        with MemberCalls([torch.Generator()] * 3, index):
            return torch.nn.functional.linear(x, weight, b)

    def both(x, weight, b=None):
        one = torch.vmap(member, in_dims=(0, 0, 0, None if b is None else 0))(torch.arange(3), x, weight, b)
        plain = [torch.nn.functional.linear(x[m], weight[m], None if b is None else b[m]) for m in range(3)]
        return one, torch.stack(plain)

    arguments = [value.requires_grad_() for value in (x, weight, b) if value is not None]
    found, expected = both(*arguments)
    torch.testing.assert_close(found, expected)
    gradients = [
        torch.autograd.grad(y.square().sum(), arguments, create_graph=True) for y in (found, expected)
    ]
    torch.testing.assert_close(*gradients)
    assert gradients[0][1].is_contiguous()
    assert torch.autograd.gradgradcheck(lambda *a: both(*a)[0], arguments)


def test_a_penalty_with_numbers_of_its_own_varies_by_them():
    losses = []
    for weight, scale in ((1.0, 1.0), (100.0, 0.5)):
        vae, _ = build(presets.vae(**SIZES), 0)
        losses.append(Loss(vae, Objective({"mmd": MMD(weight=weight, scale=scale)})))
    x = (torch.rand(9, 1, 8, 8) < 0.3).float()
    expected = []
    for loss in losses:
        loss.seed([5])
        expected.append(loss(x, torch.tensor(1.0))[1]["penalty_mmd"].item())
    stack = StackedLoss(losses)
    stack.seed([5, 5])
    found = stack(x.expand(2, *x.shape), torch.tensor(1.0))[1]["penalty_mmd"].tolist()
    assert found == pytest.approx(expected, rel=1e-4)
    assert abs(expected[1]) > 2 * abs(expected[0])


# --- Run folders and the command line ---------------------------------------------------------------------


def test_a_run_of_several_is_the_run_of_one_in_every_way(tmp_path):
    training = dataclasses.replace(CONFIG, epochs=1)
    configs = {
        f"F{model.penalties[0].target}": RunConfig(
            "digits", None, model, dataclasses.replace(training, seed=seed)
        )
        for model, seed in zip(CURVE, SEEDS, strict=True)
    }
    runs, data = start_runs(configs, tmp_path, progress=False)
    assert data.name == "digits"
    single, _ = start_run(configs["F5"], tmp_path / "single", progress=False)
    assert_same(runs["F5"].history, single.history, rel=1e-4)
    loaded = load_run(tmp_path / "F5")
    assert loaded.config == configs["F5"]
    assert loaded.history == runs["F5"].history
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.vae.parameters(), runs["F5"].vae.parameters(), strict=True)
    )
    again, _ = start_run(configs["F5"], tmp_path / "F5", progress=False)  # it is finished
    assert again.history == loaded.history


def test_runs_of_different_data_or_models_are_refused_before_anything_is_written(tmp_path):
    one = RunConfig("digits", None, CURVE[0], CONFIG)
    with pytest.raises(ValueError, match="`configs` must name the same data"):
        start_runs({"a": one, "b": dataclasses.replace(one, data="mnist")}, tmp_path)
    with pytest.raises(ValueError, match="`models` must have one architecture"):
        start_runs({"a": one, "b": dataclasses.replace(one, model=presets.vae(hidden=(9,)))}, tmp_path)
    assert not list(tmp_path.iterdir())


SMALL = (
    "--no-progress", "--model.hidden", "8", "--model.latent-dim", "2", "--training.epochs", "1",
    "--training.batch-size", "300", "--training.accelerator", "cpu",
)  # fmt: skip


def test_a_sweep_makes_ordinary_runs_and_draws_their_curve(tmp_path, capsys):
    arguments = [
        "sweep",
        "--preset",
        "fae",
        "--fisher",
        "1",
        "20",
        "--seeds",
        "0",
        "1",
        "--out",
        str(tmp_path),
    ]
    assert main([*arguments, *SMALL]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed[:2]] == ["fisher1", "fisher20"]
    assert printed[2] == str(tmp_path / "plane.png")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"fisher1-seed0", "fisher1-seed1", "fisher20-seed0", "fisher20-seed1", "plane.png"}
    config = load_run(tmp_path / "fisher20-seed1").config
    assert (config.model.penalties[0].target, config.training.seed) == (20, 1)
    assert main(["evaluate", str(tmp_path / "fisher1-seed0"), "--images", "5", "--samples", "10"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fisher", "1", "1"], "--fisher must be distinct"),
        (["--fisher-weight", "1", "2"], "--fisher-weight needs --fisher"),
        (["--training.schedule", "plateau", "--beta", "1", "2"], '`schedule` must not be "plateau"'),
    ],
)
def test_a_sweep_that_cannot_be_is_one_line(arguments, message, tmp_path, capsys):
    assert main(["sweep", "--out", str(tmp_path), *SMALL, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_sweep_with_a_diverging_model_draws_the_others_and_says_so(tmp_path, capsys):
    arguments = ["sweep", "--preset", "fae", "--fisher-weight", "1", "1e38", "--out", str(tmp_path), *SMALL]
    with pytest.warns(InfoplaneWarning, match="has diverged"):
        assert main([*arguments, "--training.clip-norm", "inf", "--training.epochs", "3"]) == 2
    captured = capsys.readouterr()
    assert "1 of 2 models: fisher-weight1e+38-seed0: training has diverged" in captured.err
    assert "fisher-weight1e+38: none of 1 seeds" in captured.out
    assert (tmp_path / "plane.png").exists()
    assert isinstance(load_run(tmp_path / "fisher-weight1-seed0"), Run)
    assert load("digits").name == "digits"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("graph", [False, True])
def test_a_stack_on_a_gpu_is_each_model_alone(graph, digits, tmp_path):
    config = dataclasses.replace(CONFIG, accelerator="cuda", cuda_graph=graph)
    _, histories = together(CURVE, digits, tmp_path / "stack", config=config)
    for number in range(3):
        _, history = alone(number, CURVE, digits, tmp_path / "alone", config=config)
        assert_same(histories[number], history, rel=0.02)
