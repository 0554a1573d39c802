"""A training run as a program: ``python train_digits.py FOLDER OPTIONS``, alone or in several processes."""

import dataclasses
import json
import os
import sys
from pathlib import Path

import torch

from infoplane_torch import presets
from infoplane_torch.data import load
from infoplane_torch.mutual_information import MutualInformation
from infoplane_torch.networks import MLP
from infoplane_torch.objective import Objective
from infoplane_torch.penalties import FisherInformation
from infoplane_torch.posteriors import DiagonalGaussian
from infoplane_torch.training import TrainingConfig, train

OPTIONS = {
    "epochs": 4, "batch_size": 32, "warmup_epochs": 3, "patience": None, "accelerator": "cpu", "seed": 5,
    "checkpoint_seconds": 0,
}  # fmt: skip


def without_noise() -> None:
    """Let every draw be the mean, or an image near it, so that one process draws as two do."""
    torch.distributions.Normal.rsample = lambda self, shape=(): self.loc.expand(self._extended_shape(shape))
    torch.distributions.Normal.sample = lambda self, shape=(): torch.linspace(
        -1, 1, self._extended_shape(shape)[-1]
    ).expand(self._extended_shape(shape))
    torch.distributions.Bernoulli.sample = lambda self, shape=(): (self.probs > 0.5).float()


def main(folder: str, *, noise: bool = True, penalties: str = "fisher", **options) -> None:
    torch.set_num_threads(1)
    if not noise:
        without_noise()
    digits = load("digits")
    # 158 = 4 · 32 + 30: the last batch is smaller, and can still be halved.
    digits = dataclasses.replace(digits, train=digits.train[:158], valid=digits.valid[:51])
    torch.manual_seed(0)
    sizes = {"event_shape": (1, 8, 8), "hidden": (16,), "latent_dim": 3}
    vae, objective = presets.build(presets.fae(20.0, 1.0, **sizes))
    if penalties == "all":
        reverse = DiagonalGaussian(MLP(64, 6, hidden=(16,)))
        named = {
            # Near where J begins: the multiplier then moves by the gap itself, and not by its limit.
            "fisher": FisherInformation(1.1, 10.0, form="lagrangian"),
            "information": MutualInformation(2, 1.0, decode=vae.decode, reverse=reverse),
        }
        objective = Objective(named, beta=2.0, free_bits=0.1)
    config = TrainingConfig(**(OPTIONS | options))
    history = train(vae, objective, digits, config, folder, progress=False)
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    state = {"model": vae.state_dict(), "penalties": objective.modules.state_dict(), "rows": history.rows}
    torch.save(state, Path(folder) / f"end{rank}.pt")


def in_a_process(rank: int, count: int, port: int, folder: str, options: dict) -> None:
    """Be one of several processes, as `torchrun` would have started it."""
    if count > 1:
        numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        os.environ.update({name: str(number) for name, number in numbers.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test")
    main(folder, **options)


if __name__ == "__main__":
    main(sys.argv[1], **json.loads(sys.argv[2]))
