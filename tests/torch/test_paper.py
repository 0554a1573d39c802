"""The paper's tables and figures on a tiny protocol: complete, resumable, and honest when stopped."""

import dataclasses
import json

import numpy as np
import pytest

from examples.paper import study as paper
from examples.paper.claims import claims
from examples.paper.constraint import constraint
from examples.paper.figures import figure1, figure2, figure3
from examples.paper.study import OutOfTimeError, Study
from examples.paper.table1 import table1
from infoplane_torch.training import TrainingConfig

TINY = paper.Protocol(
    data="digits",
    images=(60, 30, 24),
    hidden=(8,),
    latent_dim=3,
    training=TrainingConfig(epochs=2, batch_size=30, warmup_epochs=1, patience=None, checkpoint_seconds=0),
    seeds=(0, 1),
    weights=(0.1, 1.0),
    samples=8,
    pixel={"channels": (4,), "pixel_channels": 4, "pixel_layers": 1, "pixel_kernel": 3},
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study(TINY, tmp_path_factory.mktemp("paper"), None, np.inf, "cpu")


def test_the_table_has_every_row_and_every_seed(study):
    text = table1(study)
    rows = [line.split(" | ") for line in text.splitlines()[2:]]
    assert [row[0].strip("| ") for row in rows] == [system.name for system in paper.TABLE]
    assert {row[2] for row in rows} == {"2"}
    assert [row[-1].strip("| ") for row in rows] == [f"{system.paper:.2f}" for system in paper.TABLE]
    kept = json.loads((study.folder / "table1.json").read_text())
    assert kept["complete"]
    assert all(len(runs) == 2 for runs in kept["runs"].values())
    assert {run["weight"] for run in kept["runs"]["FAE(F=20)"]} <= set(TINY.weights)


def test_nothing_is_done_twice(study):
    first = table1(study)
    assert table1(dataclasses.replace(study, deadline=0.0)) == first


def test_a_spent_budget_leaves_a_partial_table_that_says_so(tmp_path):
    stopped = Study(TINY, tmp_path, None, 0.0, "cpu")
    text = table1(stopped)
    assert text.startswith("Stopped by the budget at ")
    assert "epoch 0 of 2" in text
    assert not json.loads((tmp_path / "table1.json").read_text())["complete"]


def test_training_in_stretches_ends_like_training_in_one(tmp_path, monkeypatch):
    protocol = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, epochs=4))
    found = []
    for name, stretch in (("one", 4), ("two", 2)):
        monkeypatch.setattr(paper, "_STRETCH", stretch)
        part = Study(protocol, tmp_path / name, None, np.inf, "cpu")
        run = part.trained(part.config(paper.TABLE[0], 0.0, 0))
        found.append([value for parameter in run.vae.parameters() for value in parameter.flatten().tolist()])
    assert found[0] == found[1]


def test_likelihoods_go_on_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "_BLOCK", 10)
    whole = Study(TINY, tmp_path, None, np.inf, "cpu")
    config = whole.config(paper.TABLE[0], 0.0, 0)
    run = whole.trained(config)
    values, _ = whole.log_likelihoods(config, run)
    (file,) = whole.place(config).glob("likelihood-*.npz")
    arrays = dict(np.load(file))
    np.savez(file, **{name: array[:10] for name, array in arrays.items()})
    with pytest.raises(OutOfTimeError, match="likelihood of 10 of 24 images"):
        dataclasses.replace(whole, deadline=0.0).log_likelihoods(config, run)
    np.testing.assert_array_equal(whole.log_likelihoods(config, run)[0], values)


def test_figures_and_claims_are_made(study):
    assert figure1(study).count("\n") == 2 + len(paper.TABLE)
    assert "10-NN accuracy" in figure2(study)
    assert "not at hand" in figure3(study, None)
    assert "Kendall" in claims(study)
    assert constraint(study).count("| lagrangian |") == 4
    for name in ("figure1", "figure2", "figure3-digits"):
        assert (study.folder / f"{name}.png").stat().st_size > 5000
