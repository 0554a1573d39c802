"""Squared distances of four points from eight, held in vector registers over all dimensions.

What the compiler makes of loops loads and stores every partial sum again; a tile as products of matrices have
it, written as vectors for LLVM, comes near the rate at which the machine multiplies.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir
import numba
import numpy as np
from numba.extending import intrinsic

# Points of a panel, whose coordinates lie side by side; targets of a tile.
PANEL, TILE = 8, 4

if numba.config.DISABLE_JIT:

    def compare_tile(
        targets: Any, at: int, sources: Any, start: int, d: int, limit: Any, row: int, column: int, out: Any
    ) -> int:
        near = targets[at + PANEL * np.arange(d)[:, None] + np.arange(TILE)]
        there = sources[start : start + PANEL * d].reshape(d, PANEL)
        with np.errstate(invalid="ignore"):
            squared = np.square(there[:, None, :] - near[:, :, None]).sum(axis=0)
        out[:] = squared.ravel()
        most = np.maximum(limit[row : row + TILE, None], limit[column : column + PANEL])
        return int(sum(1 << int(bit) for bit in np.flatnonzero(squared <= most)))

    def lowest_bit(bits: int) -> int:
        return (bits & -bits).bit_length() - 1

else:
    _DOUBLE, _INT, _LONG = llvmlite.ir.DoubleType(), llvmlite.ir.IntType(32), llvmlite.ir.IntType(64)
    _VECTOR = llvmlite.ir.VectorType(_DOUBLE, PANEL)

    @intrinsic
    def compare_tile(
        typing_context: Any, targets: Any, at: Any, sources: Any, start: Any, d: Any, limit: Any, row: Any,
        column: Any, out: Any,
    ) -> Any:  # fmt: skip
        """Set `out` to |t_r − x_j|² and return the bits 8 r + j of those within the limit of either point.

        The four targets are rows at, at + 1, … of a panel, the eight sources a panel; limits are those from
        `row` and from `column` on.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def place(array: int, *steps: Any) -> Any:
                pointer = arrays[array]
                for step in steps:
                    pointer = builder.gep(pointer, [step])
                return pointer

            def vector(pointer: Any) -> Any:
                return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=8)

            def everywhere(pointer: Any) -> Any:
                nothing = llvmlite.ir.Constant(_VECTOR, llvmlite.ir.Undefined)
                first = builder.insert_element(nothing, builder.load(pointer), _INT(0))
                zeros = llvmlite.ir.Constant(llvmlite.ir.VectorType(_INT, PANEL), [0] * PANEL)
                return builder.shuffle_vector(first, nothing, zeros)

            arrays = {
                i: context.make_array(signature.args[i])(context, builder, arguments[i]).data
                for i in (0, 2, 5, 8)
            }
            before = builder.block
            loop, after = builder.append_basic_block("dimensions"), builder.append_basic_block("compare")
            builder.branch(loop)
            builder.position_at_end(loop)
            a = builder.phi(_LONG)
            a.add_incoming(_LONG(0), before)
            sums = [builder.phi(_VECTOR) for _ in range(TILE)]
            shift = builder.mul(a, _LONG(PANEL))
            there = vector(place(2, arguments[3], shift))
            fused = ("contract",)
            squared = []
            for r, total in enumerate(sums):
                step = builder.fsub(there, everywhere(place(0, arguments[1], shift, _LONG(r))))
                squared.append(builder.fadd(total, builder.fmul(step, step, flags=fused), flags=fused))
                total.add_incoming(llvmlite.ir.Constant(_VECTOR, [0.0] * PANEL), before)
                total.add_incoming(squared[-1], loop)
            following = builder.add(a, _LONG(1))
            a.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed("<", following, arguments[4]), loop, after)
            builder.position_at_end(after)
            limits, bits = vector(place(5, arguments[7])), _LONG(0)
            for r, value in enumerate(squared):
                pointer = place(8, _LONG(r * PANEL))
                builder.store(value, builder.bitcast(pointer, _VECTOR.as_pointer()), align=8)
                own = everywhere(place(5, arguments[6], _LONG(r)))
                most = builder.select(builder.fcmp_ordered(">", own, limits), own, limits)
                within = builder.bitcast(
                    builder.fcmp_ordered("<=", value, most), llvmlite.ir.IntType(PANEL)
                )
                bits = builder.or_(bits, builder.shl(builder.zext(within, _LONG), _LONG(r * PANEL)))
            return bits

        long = numba.int64
        return long(targets, long, sources, long, long, limit, long, long, out), generate

    @intrinsic
    def lowest_bit(typing_context: Any, bits: Any) -> Any:
        """Number of the lowest bit that is set."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.cttz(arguments[0], llvmlite.ir.IntType(1)(1))

        return numba.int64(numba.int64), generate
