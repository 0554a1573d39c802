"""Training in several processes: the same as in one, and resumed to the same bits."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from infoplane_torch.image_data import batches
from tests.torch import train_digits

ROOT = Path(__file__).parents[2]
PROGRAM = Path(train_digits.__file__)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module", autouse=True)
def server():
    """Processes are forked from one that has loaded everything, and has no threads yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONWARNINGS", "ignore")
        # The last two are what the first call of `load` and of an optimizer import.
        loaded = [train_digits.__name__, "sklearn.datasets", "torch._dynamo"]
        multiprocessing.get_context("forkserver").set_forkserver_preload(loaded)
        yield


def start(count: int, folder: Path, **options) -> list:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    processes = [
        context.Process(target=train_digits.in_a_process, args=(rank, count, port, str(folder), options))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    return processes


def run(folder: Path, count: int = 1, **options) -> dict:
    processes = start(count, folder, **options)
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0] * count
    return torch.load(folder / "end0.pt", weights_only=True)


def launch(folder: Path, *launcher: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *launcher, str(PROGRAM), str(folder), json.dumps(options)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        text=True,
        timeout=200,
    )


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items()) and len(first) == len(
        second
    )


def without_seconds(rows) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def single(tmp_path_factory) -> dict:
    return run(tmp_path_factory.mktemp("one"), noise=False, penalties="all")


@pytest.fixture(scope="module")
def double(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    run(folder, 2, noise=False, penalties="all")
    return folder


def test_two_processes_train_as_one_does_on_the_same_batches(single, double):
    # Without noise only the order of sums differs: Adam turns differences of 1e-7 in gradients into up to
    # 1e-3 steps of relative size 1e-7/|g|; 20 steps leave less than 1e-4 here.
    end = torch.load(double / "end0.pt", weights_only=True)
    for part in ("model", "penalties"):
        for name, value in single[part].items():
            torch.testing.assert_close(end[part][name], value, rtol=1e-3, atol=1e-4, msg=name)
    for row, expected in zip(end["rows"], single["rows"], strict=True):
        for name in set(row) - {"seconds"}:
            # These penalties are no sums over images: validated by process, trained on the whole batch.
            if name not in ("valid_loss", "valid_penalty_fisher", "valid_penalty_information"):
                assert row[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4), name


def test_all_processes_end_with_the_same_bits_and_one_writes(double):
    first, second = (torch.load(double / f"end{rank}.pt", weights_only=True) for rank in (0, 1))
    assert equal(first["model"], second["model"])
    assert equal(first["penalties"], second["penalties"])
    assert first["rows"] == second["rows"]
    assert len([*double.glob("events.out.tfevents.*")]) == 1


def test_two_processes_draw_different_noise_and_resume_to_the_same_bits(tmp_path):
    options = {"penalties": "all", "ema_decay": 0.9, "schedule": "plateau"}
    run(tmp_path / "cut", 2, epochs=2, **options)
    resumed = run(tmp_path / "cut", 2, epochs=4, **options)
    whole = run(tmp_path / "whole", 2, epochs=4, **options)
    assert equal(resumed["model"], whole["model"])
    assert equal(resumed["penalties"], whole["penalties"])
    assert without_seconds(resumed["rows"]) == without_seconds(whole["rows"])
    alone = run(tmp_path / "alone", epochs=1, **options)
    # Less than the noise of other draws, more than rounding.
    difference = abs(alone["rows"][0]["train_elbo"] - whole["rows"][0]["train_elbo"])
    assert 1e-3 < difference < 0.1 * abs(alone["rows"][0]["train_elbo"])


def test_shares_of_batches_are_those_of_one_process():
    images = torch.randint(0, 256, (45, 1, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    whole = [*batches(images, 12, seed=1, epoch=2, binary=False)]
    shares = [[*batches(images, 12, seed=1, epoch=2, binary=False, share=(rank, 3))] for rank in range(3)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat(parts), batch)  # 45 is a multiple of 3
    uneven = [[*batches(images, 12, seed=1, epoch=2, binary=False, share=(rank, 2))] for rank in range(2)]
    assert [len(part) for part in uneven[0]] == [len(part) for part in uneven[1]] == [6, 6, 6, 4]


@pytest.mark.slow
def test_torchrun_and_the_run_itself_start_processes_alike(double, tmp_path):
    options = {"noise": False, "penalties": "all"}
    for folder, launcher, more in (("torchrun", TORCHRUN, {}), ("itself", (), {"devices": 2})):
        result = launch(tmp_path / folder, *launcher, **options, **more)
        assert result.returncode == 0, result.stderr
        for rank in (0, 1):
            end = torch.load(tmp_path / folder / f"end{rank}.pt", weights_only=True)
            assert equal(end["model"], torch.load(double / "end0.pt", weights_only=True)["model"])


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_a_clear_error(tmp_path):
    result = launch(tmp_path, devices=2, batch_size=33)
    assert "`batch_size` must be a multiple of the 2 processes, got 33" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_a_run_killed_at_ten_random_moments_ends_with_the_same_bits(count, tmp_path):
    options = {"epochs": 120, "penalties": "all", "ema_decay": 0.99}
    began = time.monotonic()
    whole = run(tmp_path / "whole", count, **options)
    seconds = time.monotonic() - began
    rng = np.random.default_rng(count)
    epochs = []
    for _ in range(10):
        processes = start(count, tmp_path / "killed", **options)
        time.sleep(rng.uniform(0.1, 0.25) * seconds)
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        last = tmp_path / "killed" / "last.pt"
        if last.exists():  # and is whole
            epochs.append(torch.load(last, weights_only=True)["epoch"])
    assert len(set(epochs)) > 3
    assert min(epochs) < 120
    end = run(tmp_path / "killed", count, **options)
    assert equal(end["model"], whole["model"])
    assert equal(end["penalties"], whole["penalties"])
    assert without_seconds(end["rows"]) == without_seconds(whole["rows"])
