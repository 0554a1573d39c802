"""Everything on a device that is none: ``python -m tests.torch.pretended_device``.

A pretended device computes as the processor does, but its tensors are not the processor's: what mixes the two
fails as it would on a GPU, and so does, where that is asked for, what waits for the device or copies to it,
which cannot be recorded as a CUDA graph. It is PyTorch's "PrivateUse1", of which a process can have one, for
good: hence a program. Prints a line for each thing tried: its name, a tab, and "same" if it gives the
processor's numbers, or else what went wrong.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as tree
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

from infoplane_torch import evaluation, image_data, information, presets
from infoplane_torch.stacked_loss import StackedLoss
from infoplane_torch.training_loss import Loss
from infoplane_torch.training_step import TrainingStep, WeightAverage
from tests.torch.model_configs import CONFIGS, images


class Module(backend_registration._DummyBackendModule):
    """What PyTorch asks of a device's module."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


backend_registration._setup_privateuseone_for_python_backend("pretended", Module())
DEVICE, CPU = torch.device("pretended", 0), torch.device("cpu")
COPIES = {"aten::copy_", "aten::_to_copy"}
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"}


class There(Tensor):
    """A tensor on the device; `here` is where it really is."""

    @staticmethod
    def __new__(cls, here: Tensor) -> "There":
        self = Tensor._make_wrapper_subclass(
            cls, here.size(), here.stride(), here.storage_offset(), dtype=here.dtype, device=DEVICE
        )
        self.here = here
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})

    # These are no operations that could be dispatched.
    def tolist(self):
        return self.here.tolist()

    def new_tensor(self, data, **options):
        return torch.tensor(data, dtype=options.get("dtype", self.dtype), device=DEVICE)


class Device(TorchDispatchMode):
    """Where new tensors can be placed on the device."""

    must_not_wait = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    Device.must_not_wait = True
    try:
        yield
    finally:
        Device.must_not_wait = False


def computed(func, args, kwargs):
    """Compute on the processor what concerns the device, unless a GPU could not."""
    name, device = func._schema.name, kwargs.get("device")
    flat = [t for t in tree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    there = [t for t in flat if isinstance(t, There)]
    here = [t for t in flat if not isinstance(t, There) and t.dim() > 0]
    indexed = name.startswith(("aten::index", "aten::_index_put")) and isinstance(args[0], There)
    if there and here and name not in COPIES and not indexed:
        raise RuntimeError(f"{func} takes tensors of two devices")
    results_there = bool(there) if device is None else device == DEVICE
    copied = name in COPIES and len({isinstance(t, There) for t in flat} | {results_there}) > 1
    if Device.must_not_wait and (copied or (there and (here or name in WAITS))):
        raise RuntimeError(f"{func} waits for the device")

    def as_here(value):
        if isinstance(value, There):
            return value.here
        return CPU if isinstance(value, torch.device) else value

    def as_there(value):
        if not isinstance(value, Tensor):
            return value
        same = [t for t in there if t.here is value]  # what was changed in its place
        return same[0] if same else There(value) if results_there else value

    is_device = {"is_leaf": lambda value: isinstance(value, torch.device)}
    args, kwargs = tree.tree_map(as_here, (args, kwargs), **is_device)
    return tree.tree_map(as_there, func(*args, **kwargs))


def without_constructors() -> None:
    """Build by operations what PyTorch builds without any."""
    tensor, generator = torch.tensor, torch.Generator

    def built(data, *, dtype=None, device=None, requires_grad=False):
        value = tensor(data, dtype=dtype)
        return (value if device is None else value.to(device)).requires_grad_(requires_grad)

    torch.tensor, torch.Generator = built, lambda device=CPU: generator()


class Fabric:
    """As much of Lightning's as a step needs."""

    world_size = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def backward(self, loss: Tensor) -> None:
        loss.backward()


def steps(loss: Loss | StackedLoss, x: Tensor, device: torch.device) -> list[Any]:
    """Train for some steps, none of which may wait; return all that came of it."""
    adam = torch.optim.Adam(loss.parameters(), foreach=True, capturable=device == DEVICE)
    if device == DEVICE:
        adam.param_groups[0]["lr"] = torch.full((), 1e-3, device=device)
    average = WeightAverage(loss.averaged(), 0.9)
    step = TrainingStep(
        Fabric(device), loss, adam, clip_norm=1.0, average=average, record=False, shape=loss.shape,
        generators=loss.generators,
    )  # fmt: skip
    loss.seed(list(range(loss.shape[0] if loss.shape else 1)))
    step.begin_epoch(beta=0.5, learning_rate=1e-3)
    for _ in range(2):
        with no_waiting():
            step(x)
    assert not any(step.faults())
    return [step.means.columns("train", 3, Fabric(device)), *loss.parameters(), *average.sums]


def trained(config: presets.ModelConfig, device: torch.device) -> list[Any]:
    torch.manual_seed(0)
    loss = Loss(*presets.build(config)).to(device)
    return steps(loss, images(config=config).to(device), device)


def stacked(config: presets.ModelConfig, device: torch.device) -> list[Any]:
    torch.manual_seed(0)
    loss = StackedLoss([Loss(*presets.build(config)).to(device) for _ in range(2)])
    x = images(config=config).to(device)
    loss.require_possible(x[:2])
    found = steps(loss, x.expand(2, *x.shape), device)
    loss.release()
    return found


def measured(config: presets.ModelConfig, device: torch.device) -> list[Any]:
    torch.manual_seed(0)
    vae, x = presets.build(config)[0].to(device), images(20, config=config)
    likelihood = evaluation.log_likelihood(vae, x, num_samples=10)
    bound = evaluation.elbo(vae, x)
    point = evaluation.plane_point(vae, x, num_samples=8)
    return [
        likelihood.log_likelihood, likelihood.effective_sample_size, bound.negative_elbo, bound.kl,
        point.entropy, point.fisher_trace, evaluation.active_units(vae, x),
        evaluation.aggregated_posterior_information(vae, x).information,
        vae.reconstruct(x.to(device)), vae.sample(3),
    ]  # fmt: skip


def of_sample(name: str, d: int, device: torch.device) -> list[Any]:
    # In float64, as neighbours are found in float32 elsewhere than on the processor.
    z = torch.randn(200, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
    z.requires_grad_("ksg" not in name)
    parts = (z,) if "mutual" not in name else (z, z.detach().square() + z.roll(1, 0))
    value = getattr(information, name)(*parts)
    if value.requires_grad:
        value.sum().backward()
    return [value, z.grad]


def drawn(seed: int | list[int], device: torch.device) -> list[Any]:
    x = (255 * torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0))).byte().to(device)
    return [*image_data.batches(x, 8, seed=seed, epoch=1, binary=False)]


def tried(name: str, work: Callable[[torch.device], list[Any]]) -> None:
    try:
        with Device():
            found = [value.cpu() if isinstance(value, Tensor) else value for value in work(DEVICE)]
        for mine, other in zip(found, work(CPU), strict=True):
            if isinstance(mine, Tensor):
                # Another order of the same sums: Adam for a device divides by what else it multiplies with.
                torch.testing.assert_close(mine.detach(), other.detach(), rtol=1e-4, atol=1e-6)
            else:
                assert repr(mine)[:6] == repr(other)[:6], (mine, other)
    except Exception as error:
        print(f"{name}\t{type(error).__name__}: {' '.join(str(error).split())[:300]}", flush=True)
    else:
        print(f"{name}\tsame", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    without_constructors()
    for name, config in CONFIGS.items():
        for work in (trained, stacked, measured):
            tried(f"{work.__name__}: {name}", lambda device, work=work, c=config: work(c, device))
    for name in (
        "knn_entropy", "knn_mutual_information", "ksg_mutual_information", "kde_entropy",
        "kde_fisher_information", "kde_fisher_trace",
    ):  # fmt: skip
        for d in (1, 3):
            tried(f"{name}, d = {d}", lambda device, name=name, d=d: of_sample(name, d, device))
    for seed in (0, [0, 1]):
        tried(f"batches by {seed}", lambda device, seed=seed: drawn(seed, device))


if __name__ == "__main__":
    main()
