"""Train a VAE and Fisher auto-encoders under one schedule; compare their likelihoods and places in the plane.

    python examples/train_fae.py
    python examples/train_fae.py --data binarized_mnist --epochs 30 --data-dir /folder/of/the/files

Each model has a folder in --out. A run that was killed goes on where it stopped when it is started again.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
import tyro

from infoplane.estimate import Estimate, FisherShannonPoint
from infoplane_torch import evaluation, figures, presets
from infoplane_torch.data import ImageData, load
from infoplane_torch.history import History
from infoplane_torch.penalties import Reduction
from infoplane_torch.training import Accelerator, Precision, TrainingConfig, train
from infoplane_torch.vae import VAE


@dataclass(frozen=True)
class Options:
    """Train a VAE and Fisher auto-encoders FAE(F) under one seed and schedule, and compare them.

    Prints one table, and writes plane.png, reconstructions.png and metrics.json into --out. By default it
    takes a minute or two on the digits that come with scikit-learn; on the MNIST sets it has the paper's
    sizes.
    """

    data: Literal["digits", "mnist", "binarized_mnist"] = "digits"
    """Data set; "digits" needs no download."""
    data_dir: Path | None = None
    """Folder with the files of the data set; otherwise $INFOPLANE_DATA, otherwise they are downloaded."""
    out: Path | None = None
    """Folder for the results; otherwise runs/fae-DATA."""
    fisher: tuple[float, ...] = (0.0, 1.0, 20.0)
    """Targets F of the Fisher information J of a code: one model each, beside the plain VAE."""
    weight: float = 10.0
    """λ, the weight of |J − F| in the objective."""
    reduction: Reduction = "mean"
    """What J is: the mean over latent dimensions, the sum, or each dimension's own ("none": strongest)."""
    epochs: int | None = None
    """Most epochs of training; otherwise 150 for digits, 100 for the others."""
    warmup: int | None = None
    """Epochs until the KL term has its full weight; otherwise a third of all."""
    patience: int = 50
    """Stop after so many epochs without a better validation ELBO, counted from the end of the warm-up."""
    batch_size: int = 100
    """Images a step."""
    learning_rate: float = 1e-3
    """Of Adam."""
    hidden: tuple[int, ...] = ()
    """Widths of the hidden layers; otherwise 200 200 for digits, the paper's five of 300 for the others."""
    latent: int | None = None
    """Latent dimensions; otherwise 10 for digits, the paper's 40 for the others."""
    nll_samples: int = 5000
    """Importance samples an image for the likelihood."""
    test_images: int = 1000
    """Test images to evaluate on, drawn at random; all if there are fewer."""
    seed: int = 0
    """Decides initial weights, order, noise and the choice of test images."""
    threads: int = 1
    """CPU threads; more are slower for these small networks, and resumed runs need the same number."""
    accelerator: Accelerator = "auto"
    """Device."""
    precision: Precision = "32-true"
    """Arithmetic of the networks in training."""
    resume: bool = True
    """Go on with the runs found in --out; --no-resume starts anew."""


class Result(NamedTuple):
    """What is reported about one model."""

    history: History
    nll: Estimate
    gain: Estimate | None  # NLL of the plain VAE minus this one's, paired by image
    ess_median: float
    bound: evaluation.EvidenceLowerBound
    point: FisherShannonPoint
    active_units: int


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    mpl.use("Agg")
    out = options.out or Path("runs") / f"fae-{options.data}"
    out.mkdir(parents=True, exist_ok=True)
    data = load(options.data, options.data_dir)
    x = test_images(data, options)
    print(
        f"{data.name}, {data.binarization} binarisation: {len(data.train)} training, {len(data.valid)} "
        f"validation images; evaluated on {len(x)} test images. Results go to {out}."
    )

    over_images = partial(evaluation.mean_over_images, method="importance sampling", d=x[0].numel())
    models: dict[str, VAE] = {}
    results: dict[str, Result] = {}
    baseline = None  # log p(x) of each test image under the plain VAE
    for name, model_config in model_configs(data, options).items():
        folder = out / name.replace("(", "-").replace(")", "").replace("=", "")
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text(json.dumps(model_config.to_dict(), indent=2) + "\n")

        torch.manual_seed(options.seed)
        vae, objective = presets.build(model_config)
        history = train(
            vae,
            objective,
            data,
            training_config(options),
            folder,
            resume=options.resume,
            progress=sys.stderr.isatty(),
        )
        print(
            f"{name}: {len(history.rows)} epochs in {sum(history.column('seconds')):.0f} s, "
            f"best epoch {history.best_epoch}",
            flush=True,
        )
        likelihood = evaluation.log_likelihood(vae, x, num_samples=options.nll_samples, seed=options.seed)
        log_p = likelihood.log_likelihood.double()
        models[name] = vae
        results[name] = Result(
            history,
            nll=over_images(-log_p),
            gain=None if baseline is None else over_images(log_p - baseline),
            ess_median=float(likelihood.effective_sample_size.median()),
            bound=evaluation.elbo(vae, x, num_samples=10, seed=options.seed),
            point=evaluation.plane_point(vae, x, seed=options.seed),
            active_units=evaluation.active_units(vae, x),
        )
        if baseline is None:
            baseline = log_p

    print(table(results))
    draw(models, results, x, out)
    write_metrics(results, data, options, out / "metrics.json")


def model_configs(data: ImageData, options: Options) -> dict[str, presets.ModelConfig]:
    small = data.name == "digits"
    sizes: dict[str, Any] = {
        "event_shape": data.shape,
        "hidden": options.hidden or ((200, 200) if small else (300,) * 5),
        "latent_dim": options.latent or (10 if small else 40),
    }
    fae = {
        f"FAE(F={f:g})": presets.fae(f, options.weight, reduction=options.reduction, **sizes)
        for f in options.fisher
    }
    return {"VAE": presets.vae(**sizes), **fae}


def training_config(options: Options) -> TrainingConfig:
    epochs = options.epochs or (150 if options.data == "digits" else 100)
    return TrainingConfig(
        epochs=epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        warmup_epochs=epochs // 3 if options.warmup is None else options.warmup,
        patience=options.patience,
        seed=options.seed,
        precision=options.precision,
        accelerator=options.accelerator,
    )


def test_images(data: ImageData, options: Options) -> torch.Tensor:
    """Draw the test images at random: the original files may be sorted by class."""
    images = data.evaluation_images("test")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(options.seed))
    return images[order[: options.test_images]]


def table(results: dict[str, Result]) -> str:
    lines = [
        f"{'model':<12}{'NLL ± se':>16}{'gain on VAE':>16}{'−ELBO':>9}{'KL':>8}{'mean J':>9}{'N':>9}"
        f"{'N·J':>8}{'ESS':>7}{'active':>8}"
    ]
    for name, result in results.items():
        point, bound = result.point, result.bound
        nll = f"{result.nll:.2f} ± {result.nll.standard_error:.2f}"
        gain = "" if result.gain is None else f"{result.gain:.2f} ± {result.gain.standard_error:.2f}"
        lines.append(
            f"{name:<12}{nll:>16}{gain:>16}{bound.negative_elbo:>9.2f}{bound.kl:>8.2f}"
            f"{point.fisher_trace / point.d:>9.3f}{point.entropy_power:>9.4f}{point.product:>8.3f}"
            f"{result.ess_median:>7.0f}{result.active_units:>8d}"
        )
    lines.append(
        "NLL, gain, −ELBO and KL in nats an image; gain: paired by image; mean J: tr J/d of Z|x; N: its\n"
        "entropy power; N·J: their product, 1 for equal Gaussians; ESS: median effective number of\n"
        "importance samples; active: latent dimensions in use."
    )
    return "\n".join(lines)


def draw(models: dict[str, VAE], results: dict[str, Result], x: torch.Tensor, out: Path) -> None:
    first = next(iter(results))
    figure, ax = plt.subplots(figsize=(6.8, 5.0), layout="constrained")
    figures.models_in_plane(
        {name: result.point for name, result in results.items()},
        histories={f"training of the {first}": results[first].history},
        ax=ax,
    )
    figure.savefig(out / "plane.png", dpi=150)
    figures.reconstructions(models, x[:12]).savefig(out / "reconstructions.png", dpi=150)


def write_metrics(results: dict[str, Result], data: ImageData, options: Options, path: Path) -> None:
    def number(estimate: Estimate) -> dict[str, float]:
        return {"value": float(estimate), "standard_error": estimate.standard_error}

    metrics = {
        "options": {name: str(v) if isinstance(v, Path) else v for name, v in vars(options).items()},
        "training": dataclasses.asdict(training_config(options)),
        "data": data.name,
        "binarization": data.binarization,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "models": {
            name: {
                "nll": number(result.nll),
                "gain_on_vae": None if result.gain is None else number(result.gain),
                "negative_elbo": number(result.bound.negative_elbo),
                "reconstruction": number(result.bound.reconstruction),
                "kl": number(result.bound.kl),
                "fisher_trace": number(result.point.fisher_trace),
                "fisher_diagonal": result.point.fisher_information.diagonal().tolist(),
                "entropy_power": number(result.point.entropy_power),
                "product": number(result.point.product),
                "latent_dim": result.point.d,
                "ess_median": result.ess_median,
                "active_units": result.active_units,
                "epochs": len(result.history.rows),
                "best_epoch": result.history.best_epoch,
                "seconds": sum(result.history.column("seconds")),
            }
            for name, result in results.items()
        },
    }
    path.write_text(json.dumps(metrics, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
