"""Squared distances between a few points and many, held in vector registers over all dimensions.

What the compiler makes of loops loads and stores every partial sum again; tiles as products of matrices have
them, written as vectors for LLVM, come near the rate at which the machine multiplies.
"""

from __future__ import annotations

import math
from typing import Any

import llvmlite.ir
import numba
import numpy as np
from numba.core import cgutils
from numba.extending import intrinsic

from infoplane.kernels.vectors import DOUBLE, LONG, LONGS, PANEL, VECTOR, Code

# Targets of a tile; points of a leaf.
TILE, LEAF = 4, 32
# Keys of what is no neighbour, and of distances beyond it, agree in all but the place.
FARTHEST = 2.0**1023
# A box is as near as its nearest point but for rounding, which must not hide one of several equally near.
MARGIN = 1 - 1e-12

if numba.config.DISABLE_JIT:  # what is written for LLVM below, by NumPy

    def compare_tile(
        targets: Any, at: int, sources: Any, start: int, d: int, limit: Any, row: int, column: int, out: Any
    ) -> int:
        """See below."""
        near = targets[at + PANEL * np.arange(d)[:, None] + np.arange(TILE)]
        there = sources[start : start + PANEL * d].reshape(d, PANEL)
        with np.errstate(invalid="ignore"):
            squared = np.square(there[:, None, :] - near[:, :, None]).sum(axis=0)
        out[:] = squared.ravel()
        most = np.maximum(limit[row : row + TILE, None], limit[column : column + PANEL])
        return _bits(squared <= most)

    def compare_leaf(targets: Any, at: int, sources: Any, start: int, d: int, limit: float, out: Any) -> int:
        """See below."""
        there = sources[start : start + LEAF * d].reshape(d, LEAF)
        out[:LEAF] = np.square(there - targets[at + LEAF * np.arange(d)][:, None]).sum(axis=0)
        return _bits(out[:LEAF] <= limit)

    def compare_box(
        targets: Any, at: int, boxes: Any, start: int, d: int, limit: Any, least: Any, place: int
    ) -> int:
        """See below."""
        here = targets[at : at + LEAF * d].reshape(d, LEAF)
        low, high = boxes[start : start + 2 * d].reshape(2, d, 1)
        apart = np.square(np.maximum(np.maximum(low - here, here - high), 0.0)).sum(axis=0) * MARGIN
        within = apart <= limit
        least[place] = apart.min() if within.any() else np.inf
        return _bits(within)

    def least_keys(
        targets: Any, at: int, sources: Any, start: int, d: int, size: int, own: int, k: int, matrix: Any,
        keys: Any, lane: int,
    ) -> int:  # fmt: skip
        """See below."""
        lanes = slice(lane, lane + PANEL)
        there = sources[start : start + LEAF * d].reshape(d, LEAF)
        here = targets[at + LEAF * np.arange(d)[:, None] + np.arange(PANEL)]
        squared = np.square(here[:, None, :] - there[:, :size, None]).sum(axis=0)
        squared[np.arange(size)[:, None] == own + np.arange(PANEL)] = np.inf
        matrix.reshape(LEAF, LEAF)[:size, lanes] = squared
        found = np.minimum(squared, FARTHEST).view(np.int64) & -LEAF | np.arange(size)[:, None]
        table = keys.reshape(-1, LEAF)[: k + 1, lanes]
        nowhere = np.full_like(table, FARTHEST)
        table[:] = np.sort(np.vstack([nowhere, found.view(float)]), axis=0)[: k + 1]
        clear = table.view(np.int64) & -LEAF
        return _bits((clear[1:] == clear[:-1]).any(axis=0))

    def largest(limit: Any) -> float:
        """See below."""
        return float(limit.max())

    def place_of(key: float) -> int:
        """See below."""
        return int(np.float64(key).view(np.int64)) % LEAF

    def lowest_bit(bits: int) -> int:
        """See below."""
        return (bits & -bits).bit_length() - 1

    def _bits(within: Any) -> int:
        return sum(1 << int(bit) for bit in np.flatnonzero(within))

else:
    _long, _double = numba.int64, numba.float64

    @intrinsic
    def compare_tile(
        typing_context: Any, targets: Any, at: Any, sources: Any, start: Any, d: Any, limit: Any, row: Any,
        column: Any, out: Any,
    ) -> Any:  # fmt: skip
        """Set `out` to |t_r − x_j|² and return the bits 8 r + j of those within the limit of either point.

        The four targets are in a panel, the eight sources are one; limits are those from `row` and from
        `column` on.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = Code(context, builder, signature, arguments)
            targets, at, sources, start, d, limit, row, column, out = code.arguments
            here = [code.at(targets, at, r) for r in range(TILE)]
            squared = [value for (value,) in code.squares(d, here, [code.at(sources, start)], PANEL)]
            columns, within = code.vector(code.at(limit, column)), []
            for r, value in enumerate(squared):
                code.store(value, code.at(out, r * PANEL))
                own = code.everywhere(builder.load(code.at(limit, row, r)))
                within.append(builder.fcmp_ordered("<=", value, code.choose(">", own, columns)))
            return code.bits(within)

        return _long(targets, _long, sources, _long, _long, limit, _long, _long, out), generate

    @intrinsic
    def compare_leaf(
        typing_context: Any, targets: Any, at: Any, sources: Any, start: Any, d: Any, limit: Any, out: Any
    ) -> Any:
        """Set `out` to |t − x_j|² for the points of a leaf, and return the bits j of those within a limit."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = Code(context, builder, signature, arguments)
            targets, at, sources, start, d, limit, out = code.arguments
            there = [code.at(sources, start, j) for j in range(0, LEAF, PANEL)]
            (squared,) = code.squares(d, [code.at(targets, at)], there, LEAF)
            far, within = code.everywhere(limit), []
            for i, value in enumerate(squared):
                code.store(value, code.at(out, i * PANEL))
                within.append(builder.fcmp_ordered("<=", value, far))
            return code.bits(within)

        return _long(targets, _long, sources, _long, _long, _double, out), generate

    @intrinsic
    def compare_box(
        typing_context: Any, targets: Any, at: Any, boxes: Any, start: Any, d: Any, limit: Any, least: Any,
        place: Any,
    ) -> Any:  # fmt: skip
        """Return the bits i of the targets of a leaf that are within their limits of a box.

        The box is its least and its largest coordinates; `least` is set at `place` to the
        smallest squared distance, and to infinity if no target is within its limit.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = Code(context, builder, signature, arguments)
            targets, at, boxes, start, d, limit, least, place = code.arguments
            zero, fused = llvmlite.ir.Constant(VECTOR, [0.0] * PANEL), ("contract",)
            lanes = range(0, LEAF, PANEL)
            sums = [cgutils.alloca_once_value(builder, zero) for _ in lanes]
            with cgutils.for_range(builder, d) as loop:
                low, high = (
                    code.everywhere(builder.load(code.at(boxes, start, loop.index, step))) for step in (0, d)
                )
                for lane, total in zip(lanes, sums, strict=True):
                    x = code.vector(code.at(targets, at, builder.mul(loop.index, LONG(LEAF)), lane))
                    gap = code.choose(">", builder.fsub(low, x), builder.fsub(x, high))
                    gap = code.choose(">", gap, zero)
                    square = builder.fmul(gap, gap, flags=fused)
                    builder.store(builder.fadd(builder.load(total), square, flags=fused), total)
            margin = llvmlite.ir.Constant(VECTOR, [MARGIN] * PANEL)
            apart = [builder.fmul(builder.load(total), margin) for total in sums]
            within = code.bits(
                [
                    builder.fcmp_ordered("<=", value, code.vector(code.at(limit, lane)))
                    for lane, value in zip(lanes, apart, strict=True)
                ]
            )
            some = builder.icmp_unsigned("!=", within, LONG(0))
            nearest = builder.select(some, code.extreme("<", apart), DOUBLE(math.inf))
            builder.store(nearest, code.at(least, place))
            return within

        return _long(targets, _long, boxes, _long, _long, limit, least, _long), generate

    @intrinsic
    def least_keys(
        typing_context: Any, targets: Any, at: Any, sources: Any, start: Any, d: Any, size: Any, own: Any,
        k: Any, matrix: Any, keys: Any, lane: Any,
    ) -> Any:  # fmt: skip
        """Sort the points of a leaf into the k + 1 least keys of each of eight targets.

        A key is a squared distance with the place in the leaf as its last bits; the bits of targets two of
        whose keys agree but for that are returned. Distances are left in `matrix`; target j is the source
        own + j, if there is one, and not its own neighbour.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = Code(context, builder, signature, arguments)
            targets, at, sources, start, d, size, own, k, matrix, keys, lane = code.arguments
            lanes = builder.add(code.everywhere(own, LONGS), llvmlite.ir.Constant(LONGS, [*range(PANEL)]))
            mask = llvmlite.ir.Constant(LONGS, [-LEAF] * PANEL)
            farthest = llvmlite.ir.Constant(VECTOR, [FARTHEST] * PANEL)
            nowhere = llvmlite.ir.Constant(VECTOR, [math.inf] * PANEL)
            key = cgutils.alloca_once(builder, VECTOR)
            with cgutils.for_range(builder, builder.add(k, LONG(1))) as ranks:
                code.store(farthest, code.at(keys, builder.mul(ranks.index, LONG(LEAF)), lane))
            with cgutils.for_range(builder, size) as points:
                there = code.at(sources, start, points.index)
                ((squared,),) = code.squares(d, [there], [code.at(targets, at)], LEAF)
                place = code.everywhere(points.index, LONGS)
                squared = builder.select(builder.icmp_signed("==", place, lanes), nowhere, squared)
                code.store(squared, code.at(matrix, builder.mul(points.index, LONG(LEAF)), lane))
                bits = builder.bitcast(code.choose("<", squared, farthest), LONGS)
                bits = builder.or_(builder.and_(bits, mask), place)
                builder.store(builder.bitcast(bits, VECTOR), key)
                with cgutils.for_range(builder, builder.add(k, LONG(1))) as ranks:
                    pointer = code.at(keys, builder.mul(ranks.index, LONG(LEAF)), lane)
                    old, new = code.vector(pointer), builder.load(key)
                    code.store(code.choose("<", old, new), pointer)
                    builder.store(code.choose(">", old, new), key)
            never = llvmlite.ir.Constant(llvmlite.ir.VectorType(llvmlite.ir.IntType(1), PANEL), [0] * PANEL)
            unclear = cgutils.alloca_once_value(builder, never)
            with cgutils.for_range(builder, k) as ranks:
                pointer = code.at(keys, builder.mul(ranks.index, LONG(LEAF)), lane)
                old, new = (code.vector(code.at(pointer, step)) for step in (0, LEAF))
                apart = builder.xor(builder.bitcast(old, LONGS), builder.bitcast(new, LONGS))
                same = builder.icmp_unsigned("<", apart, llvmlite.ir.Constant(LONGS, [LEAF] * PANEL))
                builder.store(builder.or_(builder.load(unclear), same), unclear)
            return code.bits([builder.load(unclear)])

        return _long(
            targets, _long, sources, _long, _long, _long, _long, _long, matrix, keys, _long
        ), generate

    @intrinsic
    def largest(typing_context: Any, limit: Any) -> Any:
        """Largest of the limits of the targets of a leaf."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = Code(context, builder, signature, arguments)
            vectors = [code.vector(code.at(code.arguments[0], lane)) for lane in range(0, LEAF, PANEL)]
            return code.extreme(">", vectors)

        return _double(limit), generate

    @intrinsic
    def place_of(typing_context: Any, key: Any) -> Any:
        """Place in the leaf that the last bits of a key hold."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.and_(builder.bitcast(arguments[0], LONG), LONG(LEAF - 1))

        return _long(_double), generate

    @intrinsic
    def lowest_bit(typing_context: Any, bits: Any) -> Any:
        """Number of the lowest bit that is set."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.cttz(arguments[0], llvmlite.ir.IntType(1)(1))

        return _long(_long), generate
