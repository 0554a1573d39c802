"""The paper's tables and figures on a tiny protocol: complete, resumable, and honest when stopped."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

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


def study_in(folder):
    return Study(TINY, folder / "not made yet", folder / "runs", None, np.inf, "cpu")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return study_in(tmp_path_factory.mktemp("paper"))


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


def test_the_folder_of_named_data_is_not_that_of_the_files_made_from_them(tmp_path):
    study = dataclasses.replace(study_in(tmp_path), data_dir=tmp_path / "elsewhere")
    config = study.config(paper.TABLE[0], 0.0, 0)
    assert len(study.test_images(study.trained(config))) == TINY.images[2]


def test_nothing_is_done_twice(study):
    first = table1(study)
    assert table1(dataclasses.replace(study, deadline=0.0)) == first


def test_a_spent_budget_leaves_a_partial_table_that_says_so(tmp_path):
    stopped = dataclasses.replace(study_in(tmp_path), deadline=0.0)
    text = table1(stopped)
    assert text.startswith("Not finished, and the same command goes on:")
    assert "- IAF, seed 1: the start of " in text
    assert not json.loads((tmp_path / "not made yet" / "table1.json").read_text())["complete"]


def test_chosen_rows_are_gone_on_with_and_the_others_shown_as_far_as_they_are(tmp_path):
    study = study_in(tmp_path)
    table1(study, only=["VAE"])
    text = table1(study, only=["IAF"])
    done = [row.split(" | ")[0].strip("| ") for row in text.splitlines() if " ± " in row]
    assert done == ["VAE", "IAF"]
    assert text.count(", seed 1: ") == len(paper.TABLE) - 2
    with pytest.raises(ValueError, match=r"must name rows of the table, got \['FAE'\]"):
        table1(study, only=["FAE"])


def test_training_stopped_by_the_budget_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "time", SimpleNamespace(time=lambda: 0.0))
    schedule = dataclasses.replace(TINY.training, epochs=3, schedule="cosine")
    protocol = dataclasses.replace(TINY, training=schedule)
    whole = dataclasses.replace(study_in(tmp_path), protocol=protocol)
    short = dataclasses.replace(whole, runs=tmp_path / "short")
    config = whole.config(paper.TABLE[0], 0.0, 0)
    for epoch in (1, 2):
        with pytest.raises(OutOfTimeError, match=f"epoch {epoch} of 3"):
            dataclasses.replace(short, deadline=1e-9).trained(config)
    left, right = (study.trained(config).vae.state_dict() for study in (whole, short))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_likelihoods_go_on_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "_BLOCK", 10)
    whole = study_in(tmp_path)
    config = whole.config(paper.TABLE[0], 0.0, 0)
    run = whole.trained(config)
    values, _ = whole.log_likelihoods(config, run)
    (file,) = whole.place(config).glob("likelihood-*.npz")
    arrays = dict(np.load(file))
    np.savez(file, **{name: array[:10] for name, array in arrays.items()})
    with pytest.raises(OutOfTimeError, match="likelihood of 10 of 24 images"):
        dataclasses.replace(whole, deadline=0.0).log_likelihoods(config, run)
    np.testing.assert_array_equal(whole.log_likelihoods(config, run)[0], values)


def test_a_spent_budget_leaves_the_claims_that_can_be_judged(study, tmp_path):
    claims(study)
    stopped = dataclasses.replace(study, folder=tmp_path, deadline=0.0)
    (config,) = (
        c
        for c in stopped.runs.glob("*/config.json")
        if '"pixel_cnn"' in c.read_text() and "20.0" in c.read_text()
    )
    (config.parent / "finished").unlink()
    text = claims(stopped)
    assert text.startswith(
        "Not finished, and the same command goes on:\n\n- PixelVAE + FAE(F=20): the start of"
    )
    assert "Kendall" in text
    assert "non-informative" not in text
    text = claims(dataclasses.replace(stopped, runs=tmp_path / "none"))
    assert text.count("- F=") == 5
    assert "Kendall" not in text


def test_figures_and_claims_are_made(study):
    assert figure1(study).count("\n") == 2 + len(paper.TABLE)
    assert "10-NN accuracy" in figure2(study)
    assert "not at hand" in figure3(study, None)
    assert "Kendall" in claims(study)
    assert constraint(study).count("| lagrangian |") == 4
    for name in ("figure1", "figure2", "figure3-digits"):
        assert (study.folder / f"{name}.png").stat().st_size > 5000
