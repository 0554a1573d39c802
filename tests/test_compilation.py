"""How much a first call compiles, counted in functions: seconds would depend on the machine."""

import json
import os
import subprocess
import sys

import pytest

# Runs one call in a fresh process with an empty cache; numba reports each function that it compiles.
CODE = """
import json, sys
import numpy as np
from numba.core import event
import infoplane

class Compiled(event.Listener):
    names = []
    def on_start(self, event):
        function = event.data["dispatcher"].py_func
        self.names.append(f"{function.__module__}.{function.__name__}")
    def on_end(self, event):
        pass

event.register("numba:compile", Compiled())
x = np.random.default_rng(0).standard_normal((300, int(sys.argv[2])))
eval(sys.argv[1], {"infoplane": infoplane, "x": x})
print(json.dumps(Compiled.names))
"""


def compiled(call, d, folder):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, call, str(d)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("call", "d", "own", "helpers"),
    [
        ("infoplane.entropy(x)", 1, 5, 3),
        ("infoplane.entropy(x)", 2, 5, 1),
        pytest.param("infoplane.fisher_trace(x)", 1, 4, 14, marks=pytest.mark.slow),
        pytest.param("infoplane.score(x)", 2, 2, 4, marks=pytest.mark.slow),
        pytest.param("infoplane.entropy(x, method='kde')", 2, 6, 7, marks=pytest.mark.slow),
        pytest.param("infoplane.fisher_trace(x, method='kde')", 2, 6, 9, marks=pytest.mark.slow),
    ],
)
def test_a_first_call_compiles_no_more_than_it_needs(call, d, own, helpers, tmp_path):
    names = compiled(call, d, tmp_path)
    ours = [name for name in names if name.startswith("infoplane.")]
    assert len(ours) <= own, ours
    assert len(names) - len(ours) <= helpers, sorted(set(names) - set(ours))
    # Strings mean that an error message is built, as assignments of whole arrays do: dearer than the kernel.
    assert not any("unicode" in name for name in names)
    # The second process finds everything in the cache.
    assert not compiled(call, d, tmp_path)
