"""What works on a GPU as far as it can be told without one."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

ROOT = Path(__file__).parents[2]
# Densities at points that a flow has not drawn: it is inverted in as many rounds as that takes.
INVERTED = {
    "iaf, controlled",
    "fae over iaf",
    "fae over iaf and pixel_cnn",
    "iaf, bernoulli, vamp",
    "iaf, gaussian, vamp",
}


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"), reason="needs PyTorch 2.9"
)
def test_another_device_gives_the_same_numbers_and_steps_never_wait_for_it():
    """All models, alone and stacked, all measures; see pretended_device for what is caught and how."""
    program = [sys.executable, "-W", "ignore", "-m", "tests.torch.pretended_device"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
    found = dict(line.split("\t") for line in done.stdout.splitlines())
    assert len(found) > 100
    others = {name: what for name, what in found.items() if what != "same"}
    for name in INVERTED:
        assert (
            others.pop(f"trained: {name}")
            == "RuntimeError: aten._local_scalar_dense.default waits for the device"
        )
        assert "train each alone" in others.pop(f"stacked: {name}")
    assert not others
