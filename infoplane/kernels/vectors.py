"""Code for LLVM written as vectors of eight numbers, where loops would not become the best of it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import llvmlite.ir
import numba
import numpy as np
from numba.core import cgutils
from numpy.typing import NDArray

# Points of a panel, whose coordinates lie side by side: the length of a vector.
PANEL = 8

DOUBLE, INT, LONG = llvmlite.ir.DoubleType(), llvmlite.ir.IntType(32), llvmlite.ir.IntType(64)
VECTOR, LONGS = llvmlite.ir.VectorType(DOUBLE, PANEL), llvmlite.ir.VectorType(LONG, PANEL)


def packed(points: NDArray[np.float64], size: int = PANEL) -> NDArray[np.float64]:
    """Points in panels, each one row a dimension, with infinity in places without a point; flat.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        The points.
    size : int, default 8
        Points of a panel.
    """
    n, d = points.shape
    panels = np.full((-(-n // size), d, size), np.inf)
    whole = n // size
    panels[:whole] = points[: whole * size].reshape(whole, size, d).transpose(0, 2, 1)
    panels[whole:, :, : n % size] = points[whole * size :].T
    return panels.ravel()


class Code:
    """The arguments of an intrinsic, arrays as pointers to their numbers, and what can be done with them."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.builder = builder
        self.arguments = [
            context.make_array(kind)(context, builder, value).data
            if isinstance(kind, numba.types.Array)
            else value
            for kind, value in zip(signature.args, arguments, strict=True)
        ]

    def at(self, array: Any, *steps: Any) -> Any:
        """Return the pointer so many numbers further on."""
        for step in steps:
            array = self.builder.gep(array, [LONG(step) if isinstance(step, int) else step])
        return array

    def vector(self, pointer: Any) -> Any:
        """Load the eight numbers from a pointer on."""
        return self.builder.load(self.builder.bitcast(pointer, VECTOR.as_pointer()), align=8)

    def store(self, vector: Any, pointer: Any) -> None:
        """Write eight numbers from a pointer on."""
        self.builder.store(vector, self.builder.bitcast(pointer, VECTOR.as_pointer()), align=8)

    def everywhere(self, number: Any, kind: Any = VECTOR) -> Any:
        """Return a vector of one number."""
        nothing = llvmlite.ir.Constant(kind, llvmlite.ir.Undefined)
        zeros = llvmlite.ir.Constant(llvmlite.ir.VectorType(INT, PANEL), [0] * PANEL)
        first = self.builder.insert_element(nothing, number, INT(0))
        return self.builder.shuffle_vector(first, nothing, zeros)

    def choose(self, comparison: str, a: Any, b: Any) -> Any:
        """Return `a` where it compares so with `b`, else `b`."""
        return self.builder.select(self.builder.fcmp_ordered(comparison, a, b), a, b)

    def extreme(self, comparison: str, vectors: Sequence[Any]) -> Any:
        """Return the number of these vectors that compares so with all others."""
        vector = functools.reduce(lambda a, b: self.choose(comparison, a, b), vectors)
        numbers = [self.builder.extract_element(vector, INT(i)) for i in range(PANEL)]
        return functools.reduce(lambda a, b: self.choose(comparison, a, b), numbers)

    def squares(self, d: Any, here: Any, there: Any, stride: int) -> list[list[Any]]:
        """Return sums over d dimensions of (vector at there − number at here)², for each of both."""
        builder, fused = self.builder, ("contract",)
        zero = llvmlite.ir.Constant(VECTOR, [0.0] * PANEL)
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in there] for _ in here]
        with cgutils.for_range(builder, d) as loop:
            shift = builder.mul(loop.index, LONG(stride))
            vectors = [self.vector(self.at(pointer, shift)) for pointer in there]
            for pointer, row in zip(here, sums, strict=True):
                number = self.everywhere(builder.load(self.at(pointer, shift)))
                for vector, total in zip(vectors, row, strict=True):
                    step = builder.fsub(vector, number)
                    square = builder.fmul(step, step, flags=fused)
                    builder.store(builder.fadd(builder.load(total), square, flags=fused), total)
        return [[builder.load(total) for total in row] for row in sums]

    def bits(self, comparisons: Sequence[Any]) -> Any:
        """Return one bit for each number of the vectors that are compared."""
        found, builder = LONG(0), self.builder
        for i, comparison in enumerate(comparisons):
            part = builder.zext(builder.bitcast(comparison, llvmlite.ir.IntType(PANEL)), LONG)
            found = builder.or_(found, builder.shl(part, LONG(i * PANEL)))
        return found
