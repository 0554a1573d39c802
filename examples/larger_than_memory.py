"""Measure arrays that fit neither one worker's memory nor that of all: a local dask cluster of two.

In two dimensions all rows are counted, chunk by chunk, in histograms that are merged in a tree; in three, 32
blocks of 20,000 random rows are measured by nearest neighbours on the workers. Chunks are drawn at random
here, and would come from files by `dask.array.from_zarr`, `from_npy_stack` or a dask DataFrame's `.values`.

    pip install -e ".[dask]"
    python examples/larger_than_memory.py --rows 300000000 --memory 1GB
"""

import argparse
import resource
import time

import dask.array as da
from dask.distributed import Client, LocalCluster
from dask.utils import parse_bytes

from infoplane import Blocks, entropy, fisher_shannon
from infoplane.distributions import Normal, Product, StudentT

CHUNK = 1_000_000


def peak() -> float:
    """Largest resident memory of a process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 * 1.073741824


def array(rows: int, d: int) -> da.Array:
    rng = da.random.default_rng(0)
    tails = rng.standard_t(5, size=(rows, 1), chunks=(CHUNK, 1))
    rest = rng.standard_normal(size=(rows, d - 1), chunks=(CHUNK, d - 1))
    return da.concatenate([tails, rest], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=300_000_000)
    parser.add_argument("--memory", default="1GB", help="limit of each of the two workers")
    arguments = parser.parse_args()
    limit = parse_bytes(arguments.memory)
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=limit, dashboard_address=None, silence_logs=50
    )
    with cluster, Client(cluster) as client:
        for d in (2, 3):
            x = array(arguments.rows, d)
            truth = Product(StudentT(5), *[Normal()] * (d - 1))
            print(f"d = {d}: {x.nbytes / 1e9:.2f} GB of data, {2 * limit / 1e9:.2f} GB of memory")
            start = time.perf_counter()
            if d == 2:
                point = fisher_shannon(x)
                print(point)
                print(f"  truth: H = {truth.entropy():.5f}, tr J = {truth.fisher_trace():.5f}")
            else:
                h = entropy(x, method=Blocks(32, method="knn", rows=20_000), rng=0)
                print(f"  H = {h}, bias of a block {h.bias:.4f}; truth {truth.entropy():.5f}")
            peaks = ", ".join(f"{gb:.2f}" for gb in client.run(peak).values())
            print(f"  {time.perf_counter() - start:.0f} s; workers held at most {peaks} GB")


if __name__ == "__main__":
    main()
