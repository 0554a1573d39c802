"""``python -m infoplane_torch``: a run from its configuration to its pictures, and errors of one line."""

import json
import shutil
import subprocess
import sys
from itertools import pairwise

import matplotlib.image
import numpy as np
import pytest
import torch

from infoplane.errors import InfoplaneWarning
from infoplane_torch import presets
from infoplane_torch.__main__ import main
from infoplane_torch.evaluation import variational_information
from infoplane_torch.runs import RunConfig, load_run, preset, preset_names, start_run
from infoplane_torch.training_config import TrainingConfig
from infoplane_torch.training_run import held

SMALL = (
    "--no-progress", "--model.hidden", "16", "--model.latent-dim", "3", "--training.epochs", "2",
    "--training.warmup-epochs", "1", "--training.accelerator", "cpu",
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "fae"
    assert main(["train", "--preset", "fae", "--fisher", "5", "--out", str(folder), *SMALL]) == 0
    return folder


def test_train_writes_the_weights_and_the_whole_configuration(run):
    assert {"config.json", "best.pt", "last.pt", "history.csv"} <= {path.name for path in run.iterdir()}
    config = RunConfig.from_dict(json.loads((run / "config.json").read_text()))
    sizes = {"event_shape": (1, 8, 8), "hidden": (16,), "latent_dim": 3}
    assert config.model == presets.fae(5.0, 1.0, **sizes)
    assert config.training == TrainingConfig(epochs=2, warmup_epochs=1, accelerator="cpu")
    assert len(load_run(run).history.rows) == 2


def test_a_run_started_again_goes_on_and_can_be_made_longer(run, tmp_path, capsys):
    longer = [*SMALL, "--training.epochs", "3", "--fisher", "5", "--preset", "fae"]
    for path in run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert main(["train", "--out", str(tmp_path), *longer]) == 0
    assert "3 epochs" in capsys.readouterr().out
    assert load_run(tmp_path).config.training.epochs == 3
    rows = (run / "history.csv").read_text().splitlines()
    assert (tmp_path / "history.csv").read_text().splitlines()[: len(rows)] == rows


def test_another_configuration_in_the_same_folder_is_an_error_that_leaves_the_old_one(run, capsys):
    before = (run / "config.json").read_text()
    assert main(["train", "--preset", "vae", "--out", str(run), *SMALL]) == 2
    error = capsys.readouterr().err
    assert error.startswith("infoplane_torch: error: `run_dir`")
    assert error.count("\n") == 1
    assert (run / "config.json").read_text() == before


def test_evaluate_prints_and_writes_the_numbers(run, capsys):
    assert main(["evaluate", str(run), "--images", "20", "--samples", "50"]) == 0
    printed = capsys.readouterr().out
    record = json.loads((run / "evaluation.json").read_text())
    assert record["nll"]["value"] <= record["negative_elbo"]["value"] + 1
    assert f"{record['nll']['value']:.3f} ± {record['nll']['standard_error']:.3f}" in printed
    assert (record["images"], record["samples"], record["split"]) == (20, 50, "test")


@pytest.mark.parametrize(
    ("command", "picture"),
    [
        (("sample", "RUN", "--n", "5"), "samples.png"),
        (("sample", "RUN", "--n", "5", "--mean"), "samples.png"),
        (("reconstruct", "RUN", "--n", "4"), "reconstructions.png"),
        (("plane", "RUN", "--images", "30", "--trajectories"), "plane.png"),
    ],
)
def test_pictures_need_nothing_but_the_run(command, picture, run, tmp_path, capsys):
    arguments = [str(run) if word == "RUN" else word for word in command]
    out = tmp_path / picture
    assert main([*arguments, "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert matplotlib.image.imread(out)[..., :3].std() > 0.02


def test_the_plane_takes_several_runs(run, tmp_path, capsys):
    assert main(["train", "--preset", "vae", "--out", str(tmp_path / "vae"), *SMALL]) == 0
    assert main(["plane", str(run), str(tmp_path / "vae"), "--out", str(tmp_path / "plane.png")]) == 0
    printed = capsys.readouterr().out
    assert "fae: tr J/d" in printed
    assert "vae: tr J/d" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "nowhere"], "`name` must be"),
        (["train", "--training.batch-size", "0"], "error: `batch_size` must be at least 1, got 0"),
        (["train", "--model.free-bits", "0.1", "--model.posterior", "full"], "error: `free_bits` must be 0"),
        (["train", "--data", "no/where"], "no such file or folder: no/where"),
        (["train", "--fisher-weight", "1"], "--fisher-weight needs --fisher"),
        (["train", "--training.no-binarize"], "`data.train` must lie in the support of the likelihood"),
        (["train", "--data", "mnist", "--data-dir", "EMPTY"], "no train-images-idx3-ubyte.gz"),
        (["evaluate", "EMPTY"], "is no run: it has no config.json"),
        (["evaluate", "RUN", "--split", "all"], "`split` must be"),
        (["evaluate", "RUN", "--images", "0"], "must be at least 1, got 0"),
        (["sample", "RUN", "--device", "abacus"], "--device must name a device"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, message, run, tmp_path, capsys):
    named = {"EMPTY": str(tmp_path), "RUN": str(run)}
    assert main([named.get(word, word) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("infoplane_torch: error: ")
    assert error.count("\n") == 1


def test_a_second_training_in_a_folder_is_said_in_one_line_and_leaves_the_first_ones_configuration(
    tmp_path, capsys
):
    (tmp_path / "config.json").write_text("that of the first")
    with held(tmp_path):
        assert main(["train", "--out", str(tmp_path), *SMALL]) == 2
        assert main(["train", "--no-resume", "--out", str(tmp_path), *SMALL]) == 2
    error = capsys.readouterr().err
    assert error.count("infoplane_torch: error: one training at a time") == error.count("\n") == 2
    assert (tmp_path / "config.json").read_text() == "that of the first"


def test_a_damaged_checkpoint_is_named_in_one_line(run, tmp_path, capsys):
    damaged = shutil.copytree(run, tmp_path / "damaged")
    whole = (damaged / "last.pt").read_bytes()
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    for content in (whole[: len(whole) // 2], whole[:10], b"", (tmp_path / "other.pt").read_bytes()):
        (damaged / "last.pt").write_bytes(content)
        for command in (["evaluate", str(damaged)], ["train", "--out", str(damaged), *SMALL]):
            assert main(command) == 2
            error = capsys.readouterr().err
            assert f"{damaged / 'last.pt'} is " in error
            assert error.count("\n") == 1


def test_the_mean_of_a_pixel_vae_is_said_to_be_unknown_in_one_line(tmp_path, capsys):
    sizes = ["--model.channels", "4", "--model.pixel-channels", "4", "--model.pixel-layers", "1"]
    arguments = ["train", "--preset", "pixel_vae", "--out", str(tmp_path), *SMALL, *sizes]
    assert main([*arguments, "--training.epochs", "1", "--training.batch-size", "600"]) == 0
    capsys.readouterr()
    assert main(["sample", str(tmp_path), "--mean"]) == 2
    error = capsys.readouterr().err
    assert "error: --mean needs a likelihood that knows E[x|z]" in error
    assert error.count("\n") == 1


def test_one_s_own_images_are_found_from_elsewhere_and_after_a_move(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    np.savez("mine.npz", train=images)
    assert main(["train", "--data", "mine.npz", "--out", "run", *SMALL]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    evaluate = ["evaluate", str(tmp_path / "run"), "--samples", "5"]
    assert main(evaluate) == 0
    (tmp_path / "mine.npz").rename("mine.npz")
    capsys.readouterr()
    assert main(evaluate) == 2
    assert f"no such file or folder: {tmp_path / 'mine.npz'}" in capsys.readouterr().err
    assert main([*evaluate, "--data-dir", "."]) == 0
    np.savez("mine.npz", train=255 - images)
    with pytest.warns(InfoplaneWarning, match="the model was trained on other images: mine, SHA-256"):
        assert main([*evaluate, "--data-dir", "."]) == 0


def test_what_the_model_sees_is_said_and_kept(tmp_path, capsys):
    grey = ["--training.no-binarize", "--training.dequantize", "--model.likelihood", "gaussian"]
    short = ["--training.warmup-epochs", "4"]
    with pytest.warns(InfoplaneWarning, match="β ends at 0.5"):
        assert main(["train", "--out", str(tmp_path), *SMALL, *grey, *short]) == 0
    assert "digits, dequantised grey levels, 2 epochs" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path), "--images", "20", "--samples", "5"]) == 0
    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "evaluation.json").read_text())
    assert (record["data"], record["pixels"]) == ("digits", "dequantised grey levels")
    assert record["beta"] in (0.25, 0.5)
    assert f"20 images of test of digits, dequantised grey levels, trained to β = {record['beta']}" in printed


def test_a_single_image_has_no_standard_error_and_no_active_units(run, capsys):
    assert main(["evaluate", str(run), "--images", "1", "--samples", "5"]) == 0
    assert "– of 3" in capsys.readouterr().out

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    record = json.loads((run / "evaluation.json").read_text(), parse_constant=refuse)
    assert record["nll"]["standard_error"] is None
    assert record["active_units"] is None


def test_a_mutual_auto_encoder_is_loaded_and_evaluated_with_its_network(tmp_path, capsys):
    assert main(["train", "--preset", "mae", "--model.information", "2", "--out", str(tmp_path), *SMALL]) == 0
    checkpoint = torch.load(tmp_path / "last.pt", weights_only=True)
    run = load_run(tmp_path)
    reverse = run.objective.modules["information"].reverse
    for name, value in reverse.state_dict().items():
        assert torch.equal(value, checkpoint["best_penalties"][f"information.reverse.{name}"])
    assert main(["evaluate", str(tmp_path), "--samples", "5", "--images", "50"]) == 0
    record = json.loads((tmp_path / "evaluation.json").read_text())
    bound = variational_information(run.vae, reverse)
    assert record["information_bound"]["value"] == pytest.approx(float(bound), rel=1e-4)
    assert record["aggregated_information"]["n"] == 50
    assert "at most log 50" in capsys.readouterr().out


def test_another_configuration_is_told_by_the_options_that_differ(run, capsys):
    arguments = ["train", "--preset", "fae", "--fisher", "5", "--out", str(run), *SMALL]
    assert main([*arguments, "--training.learning-rate", "0.1"]) == 2
    error = capsys.readouterr().err
    assert "it was; learning_rate=0.001; and is now; learning_rate=0.1;" in error
    assert "batch_size" not in error
    assert main([*arguments, "--model.latent-dim", "4"]) == 2
    error = capsys.readouterr().err
    assert "Linear(in_features=16, out_features=6, bias=True)" in error
    assert "Linear(in_features=64, out_features=16, bias=True)" not in error  # the same in both


@pytest.mark.parametrize("arguments", [["train", "--training.epochs", "x"], ["train", "--preset", "gan"], []])
def test_options_that_cannot_be_are_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_help_explains_every_option(capsys):
    for command in ("train", "evaluate", "plane", "sample", "reconstruct"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        for line, following in pairwise(lines):
            if line.startswith("│ --"):
                assert following.startswith("│       "), line  # an explanation, and not the next option


def test_each_preset_has_a_configuration():
    assert {"vae", "fae", "mae", "iaf_vae"} <= set(preset_names())
    for name in preset_names():
        assert isinstance(preset(name), presets.ModelConfig)


def test_a_damaged_configuration_is_a_clear_error(run, tmp_path):
    for path in run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for content in ("{", '{"data": "digits"}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=r"config\.json cannot be read"):
            load_run(tmp_path)


@pytest.mark.parametrize(
    ("part", "name", "value", "wanted"),
    [
        ("training", "epochs", "3", "int"),
        ("training", "epochs", 3.5, "int"),
        ("training", "binarize", "no", "bool"),
        ("training", "learning_rate", None, "float"),
        ("training", "patience", [5], r"int \| None"),
        ("training", "schedule", "none", "Literal"),
        ("model", "hidden", 16, r"tuple\[int, ...\]"),
        ("model", "hidden", [16, "16"], r"tuple\[int, ...\]"),
        ("model", "latent_dim", True, "int"),
        ("model", "information", "x", r"float \| None"),
        ("model", "penalties", [3], "tuple"),
        (None, "data", 5, "str"),
    ],
)
def test_wrong_types_in_a_configuration_are_named(part, name, value, wanted):
    fields = RunConfig("digits", None, presets.fae(20, 1.0), TrainingConfig(patience=None)).to_dict()
    assert RunConfig.from_dict(fields).training.patience is None
    (fields if part is None else fields[part])[name] = value
    with pytest.raises(ValueError, match=rf"those that `to_dict` wrote: `{name}` must be {wanted}.*, got "):
        RunConfig.from_dict(fields)


def test_the_module_runs_as_a_program(tmp_path):
    command = [sys.executable, "-m", "infoplane_torch", "evaluate", str(tmp_path)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert result.returncode == 2
    assert "is no run" in result.stderr


@pytest.mark.parametrize(
    "options", [{"likelihood": "logistic_mixture"}, {"likelihood": "pixel_cnn", "pixels": "logistic_mixture"}]
)
def test_a_model_of_grey_levels_is_not_taught_that_there_are_two(tmp_path, options):
    model = presets.vae(event_shape=(1, 8, 8), hidden=(16,), latent_dim=2, **options)
    config = RunConfig("digits", None, model, TrainingConfig(epochs=1, accelerator="cpu"))
    with pytest.raises(
        ValueError, match=r"must have images of 256 grey levels, got `training.binarize` = True"
    ):
        start_run(config, tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_weights_that_do_not_fit_the_configuration_are_a_clear_error(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    fields = json.loads((other / "config.json").read_text())
    fields["model"]["latent_dim"] += 1
    (other / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=r"last\.pt holds the weights of another model than config\.json"):
        load_run(other)
