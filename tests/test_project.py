"""The house rules, checked: imports, docstrings, what loads on import, README commands."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import infoplane

ROOT = Path(__file__).parent.parent
FLOORS = {
    # A module may import only from lower floors, or from those listed before it on its own.
    "infoplane": [
        [
            "progress", "kernels.linear_algebra", "kernels.jit", "kernels.exp", "kernels.pairs",
            "kernels.vectors",
            "kernels.candidates", "kernels.tiles", "kernels.brute_force", "kernels.nearest",
            "kernels.neighbors", "kernels.ranges", "kernels.binning", "kernels.splines", "kernels.spacings",
            "kernels.moments",
        ],
        ["lazy", "errors", "limits", "long_run", "estimate", "mass", "ties", "whitening", "sample"],
        [
            "estimators.base", "estimators.kernel_density", "estimators.bandwidths",
            "estimators.grid_kernels",
            "estimators.gaussian", "estimators.nearest_balls", "estimators.knn", "estimators.kde",
            "estimators.edges", "estimators.robust_units", "estimators.spline_density",
            "estimators.logspline",
            "estimators.entropy_only", "estimators.spacing", "estimators.independent_axes",
            "estimators.score_models", "estimators.mixture", "estimators.kernel_exponential",
            "estimators.independent_score", "estimators.stack", "estimators.density_stack",
            "estimators.bound", "estimators.copula", "estimators.weighted_knn", "estimators.cross_entropy",
            "estimators.mixture_neighbors", "estimators.best_entropy", "estimators",
            "estimators.entropy_sums", "estimators.shared_balls", "estimators.copula_information",
        ],
        ["methods"],
        [
            "measured", "histogram", "blocks", "dask_arrays", "measures", "dependence", "trajectory",
            "distributions.base", "distributions.location_scale", "distributions.normal",
            "distributions.student", "distributions.symmetric", "distributions.positive",
            "distributions.bounded", "distributions.quadrature", "distributions.product",
            "distributions.mixture", "distributions.sums", "distributions",
        ],
        [
            "inequalities.subject", "inequalities.single", "inequalities.sums", "inequalities.heat_flow",
            "inequalities.parts", "inequalities", "plane",
        ],
        ["plot"],
        ["tabular", "cli"],
    ],
    "infoplane_torch": [
        [
            "monte_carlo", "location_fisher", "whitening", "neighbors", "nearest_entropy", "shared_balls",
            "kernel_sums", "kernel_information", "information", "networks", "made", "autoregressive_flow",
            "coupling_flow", "conv_networks", "logistic_mixture", "bernoulli_pixels", "pixel_cnn",
            "processes",
        ],
        ["posteriors", "likelihoods", "priors"],
        ["vae"],
        ["penalties", "discrepancy", "mutual_information", "objective"],
        ["plane_sums", "plugins", "metrics"],
        ["presets"],
        ["data_files", "image_data", "own_images", "data"],
        [
            "history", "callbacks", "training_config", "checkpoints", "training_loss", "training_step",
            "member_numbers", "member_calls", "stacked_loss", "training_run", "training_loop",
            "image_batches", "training_checks", "training",
        ],
        [
            "likelihood_estimation", "model_plane", "code_information", "code_accuracy",
            "evaluation",
        ],
        ["figures"],
        ["run_config", "runs", "commands", "sweeps", "__main__"],
    ],
}  # fmt: skip
TORCH = importlib.util.find_spec("torch") is not None
# Modules that cannot be imported without what an extra brings.
EXTRAS = {"infoplane_torch.metrics": "torchmetrics", "infoplane_torch.callbacks": "lightning"}


def modules(package):
    path = ROOT / package
    names = [".".join(f.relative_to(path).with_suffix("").parts) for f in path.rglob("*.py")]
    return sorted(re.sub(r"\.?__init__$", "", name) for name in names)


def imports(package, name):
    """Modules of either package that a module imports anywhere in its code."""
    path = ROOT / package / Path(*name.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            found = [node.module]
        else:
            continue
        yield from (m for m in found if m.split(".")[0] in FLOORS)


@pytest.mark.parametrize("package", FLOORS)
def test_imports_only_go_downward(package):
    order = [name for floor in FLOORS[package] for name in floor]
    known = {*order, "", "kernels"}
    assert set(modules(package)) == known - ({"kernels"} if package == "infoplane_torch" else set())
    for rank, name in enumerate(order):
        for target in imports(package, name):
            owner, _, inner = target.partition(".")
            assert inner, f"{package}.{name} imports the package root {owner}"
            if owner == package:
                assert inner in order[:rank], f"{package}.{name} imports {inner}, which is not below it"
            else:
                assert owner == "infoplane", f"{package}.{name} imports {target}"


def test_importing_infoplane_is_light():
    code = (
        "import numpy, numba, sys, time; t = time.process_time(); import infoplane; "
        "t = time.process_time() - t; "
        "print(t, sorted({'torch', 'matplotlib', 'scipy.stats', 'sklearn'} & set(sys.modules)))"
    )
    # Processor time, the least of three: other work on the machine can only slow an import down.
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    ]
    assert all(output.endswith(" []\n") for output in outputs), outputs
    assert min(float(output.split()[0]) for output in outputs) < 1.0


def public_objects():
    packages = ["infoplane", "infoplane_torch"] if TORCH else ["infoplane"]
    for package in packages:
        root = importlib.import_module(package)
        for info in pkgutil.walk_packages(root.__path__, package + "."):
            if ".kernels" in info.name or info.name.endswith("__main__"):
                continue
            if info.name in EXTRAS and importlib.util.find_spec(EXTRAS[info.name]) is None:
                continue
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if name.startswith("_") or getattr(value, "__module__", None) != info.name:
                    continue
                if inspect.isfunction(value) or inspect.isclass(value):
                    yield f"{info.name}.{name}", value


OBJECTS = dict(public_objects())


def documented_parameters(text):
    """Names in the "Parameters" (or "Attributes") section of a numpy-style docstring, in order."""
    match = re.search(r"^(Parameters|Attributes)\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", text, re.M | re.S)
    if not match:
        return []
    lines = [line for line in match[2].splitlines() if line and not line.startswith(" ")]
    return [name.strip().lstrip("*") for line in lines for name in line.split(" : ")[0].split(",")]


def own_parameters(value):
    signature = inspect.signature(value)
    return [name for name in signature.parameters if name not in ("self", "cls")]


@pytest.mark.parametrize("name", OBJECTS)
def test_docstrings_describe_the_parameters_of_the_signature(name):
    value = OBJECTS[name]
    text = inspect.getdoc(value)
    assert text, "no docstring"
    if inspect.isclass(value) and (
        issubclass(value, BaseException | Warning) or getattr(value, "_is_protocol", False)
    ):
        return
    assert documented_parameters(text) == own_parameters(value)


METHODS = {
    f"{name}.{member}": getattr(value, member)
    for name, value in OBJECTS.items()
    if inspect.isclass(value) and not getattr(value, "_is_protocol", False)
    for member, function in vars(value).items()
    if not member.startswith("_") and callable(getattr(value, member)) and not inspect.isclass(function)
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_document_their_parameters(name):
    text = inspect.getdoc(METHODS[name])
    assert text, "no docstring"
    listed = documented_parameters(text)
    parameters = own_parameters(METHODS[name])
    assert listed == parameters or (not listed and len(parameters) <= 1), (listed, parameters)


def offered():
    """What users import: the names in `__all__`, and the functions of the torch modules."""
    names = {f"infoplane.{name}": getattr(infoplane, name) for name in infoplane.__all__}
    names["infoplane.plot.plane"] = OBJECTS["infoplane.plot.plane"]
    names |= {n: v for n, v in OBJECTS.items() if n.startswith("infoplane_torch.") and inspect.isfunction(v)}
    return names


@pytest.mark.parametrize("name", offered())
def test_everything_offered_has_an_example(name):
    value = offered()[name]
    # Errors, and the interface and result that functions of their own produce, speak for themselves.
    if inspect.isfunction(value) or name.rpartition(".")[2] in ("Gaussian", "KNN", "KDE", "Estimate"):
        assert ">>> " in inspect.getdoc(value)


@pytest.mark.parametrize("name", [n for n, v in OBJECTS.items() if ">>> " in (inspect.getdoc(v) or "")])
def test_the_examples_of_docstrings_run(name):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    module = importlib.import_module(OBJECTS[name].__module__)
    with np.printoptions(legacy=False):
        for test in doctest.DocTestFinder().find(OBJECTS[name], name, module=module):
            output = []
            runner.run(test, out=output.append)
            assert not runner.failures, "".join(output)
