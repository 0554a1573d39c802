"""Arithmetic that cannot be avoided, timed alone: what a kernel is at best."""

from __future__ import annotations

from typing import Any

import llvmlite.ir
import numba
import numpy as np
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from infoplane.kernels.exp import exp
from infoplane.kernels.jit import kernel
from infoplane.kernels.pairs import squared_distances
from infoplane.kernels.vectors import PANEL, VECTOR, Code

Array = NDArray[np.float64]

# Vectors that are multiplied in turn: more than are under way at a time, fewer than there are registers.
_CHAINS = 7
_TILE = 512


@kernel
def _kernels(points, sources, tiles, out):
    m = out.size
    total = 0.0
    for tile in range(tiles):
        squared_distances(points[tile % points.shape[0]], sources, 0, m, out)
        part = 0.0
        for j in range(m):
            part += exp(-0.5 * out[j])
        total += part
    return total


def kernels(x: Array, pairs: int) -> float:
    """Distances and exponentials of so many pairs in the first-level cache: no kernel sum takes less."""
    out = np.empty(_TILE)
    return float(_kernels(x, np.ascontiguousarray(x[:_TILE].T), pairs // _TILE, out))


@intrinsic
def _chains(typing_context: Any, steps: Any, factor: Any) -> Any:
    """Multiply and add so many times in each number of seven vectors."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = Code(context, builder, signature, arguments)
        fused, number = ("contract",), code.everywhere(arguments[1])
        starts = [llvmlite.ir.Constant(VECTOR, [float(i)] * PANEL) for i in range(_CHAINS)]
        totals = [cgutils.alloca_once_value(builder, start) for start in starts]
        with cgutils.for_range(builder, arguments[0]):
            for total in totals:
                product = builder.fmul(builder.load(total), number, flags=fused)
                builder.store(builder.fadd(product, number, flags=fused), total)
        result = builder.load(totals[0])
        for total in totals[1:]:
            result = builder.fadd(result, builder.load(total))
        return builder.extract_element(result, llvmlite.ir.IntType(32)(0))

    return numba.float64(numba.int64, numba.float64), generate


@kernel
def _multiply(steps, factor):
    return _chains(steps, factor)


def multiplications(count: int) -> float:
    """So many fused multiplications and additions, in registers: no sum of squares takes less."""
    return float(_multiply(count // (_CHAINS * PANEL), 0.5))
