"""The benchmark of a GPU, tried out without one: it is ready to run, and says so where there is none."""

import json

import pytest
import torch

from benchmarks import gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured_and_no_figure_is_written(tmp_path, capsys):
    gpu.main(gpu.Options(out=tmp_path))
    assert json.loads((tmp_path / "gpu.json").read_text()) == {"measured": False}
    assert "not measured: no GPU" in (tmp_path / "gpu.md").read_text()
    assert "not measured: no GPU" in capsys.readouterr().out
    (tmp_path / "gpu.json").write_text("kept")
    gpu.main(gpu.Options(out=tmp_path))
    assert (tmp_path / "gpu.json").read_text() == "kept"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Pythae
def test_every_part_of_it_runs(tmp_path):
    sizes = {
        "images": 32, "batch_size": 4, "epochs": 1, "rounds": 1, "models": 2, "test_images": 1,
        "samples": 100, "pixel_images": 4, "points": 300,
    }  # fmt: skip
    gpu.main(gpu.Options(**sizes, device="cpu", out=tmp_path))
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["measured"]
    assert all(rate > 0 for rate in record["pixel_vae"].values())
    assert all(seconds > 0 for seconds in record["samples"].values())
    table = (tmp_path / "gpu.md").read_text()
    for part in ("500 epochs", "bfloat16", "PixelVAE", "knn_entropy", "a curve of 2 models", "arithmetic"):
        assert part in table
