"""examples/train_fae.py, the main job, at a size of seconds."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_fae.py"
SMALL = ("--epochs", "3", "--hidden", "16", "--latent", "3", "--nll-samples", "20", "--test-images", "30")
MODELS = ("VAE", "FAE(F=0)", "FAE(F=20)")


def example(*arguments: str) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLE), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("example")
    return out, example(*SMALL, "--fisher", "0", "20", "--out", str(out))


def test_the_table_has_a_row_for_each_model(first):
    _, printed = first
    rows = [line for line in printed.splitlines() if " ± " in line]
    assert [row.split()[0] for row in rows if row.split()[0] != "model"] == list(MODELS)
    assert "dynamic binarisation" in printed


def test_the_metrics_are_written_with_their_errors(first):
    out, _ = first
    metrics = json.loads((out / "metrics.json").read_text())
    assert list(metrics["models"]) == list(MODELS)
    for model in metrics["models"].values():
        assert 10 < model["nll"]["value"] <= model["negative_elbo"]["value"] + 1
        assert 0 < model["nll"]["standard_error"] < 5
        trace, d = model["fisher_trace"]["value"], model["latent_dim"]
        assert model["product"]["value"] == pytest.approx(model["entropy_power"]["value"] * trace / d)
        assert sum(model["fisher_diagonal"]) == pytest.approx(trace)
    assert metrics["models"]["VAE"]["gain_on_vae"] is None
    assert metrics["options"]["seed"] == 0


def test_the_constraint_moves_the_models_along_the_curve(first):
    models = json.loads((first[0] / "metrics.json").read_text())["models"]
    trace = [models[name]["fisher_trace"]["value"] for name in MODELS]
    power = [models[name]["entropy_power"]["value"] for name in MODELS]
    assert trace[1] < trace[0] < trace[2]
    assert power[1] > power[0] > power[2]


@pytest.mark.parametrize("name", ["plane.png", "reconstructions.png"])
def test_the_pictures_are_written(first, name):
    image = matplotlib.image.imread(first[0] / name)
    assert image.shape[0] > 200
    assert image[..., :3].std() > 0.05


def test_started_again_it_trains_no_more_and_prints_the_same_table(first):
    out, printed = first
    table = (out / "VAE" / "history.csv").read_text()
    again = example(*SMALL, "--fisher", "0", "20", "--out", str(out))
    assert again == printed
    assert (out / "VAE" / "history.csv").read_text() == table
    with (out / "FAE-F20" / "history.csv").open() as file:
        assert len([*csv.DictReader(file)]) == 3


def test_the_help_explains_each_option():
    printed = example("--help")
    for option in ("--data-dir", "--fisher", "--weight", "--nll-samples", "--seed", "--no-resume"):
        assert option in printed
    assert "λ, the weight of" in printed
