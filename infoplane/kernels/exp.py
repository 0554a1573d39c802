"""An exponential that LLVM can vectorise, eight times as fast as the one it calls in libm."""

from __future__ import annotations

import math
import struct
from typing import Any

import llvmlite.ir
import numba
import numpy as np
from numba.extending import intrinsic

from infoplane.kernels.jit import inline

_LOG2_E = 1.0 / math.log(2.0)
# Taylor coefficients of 2^f: the remainder on |f| ≤ 1/2 is below (ln 2 / 2)^12 / 12! = 6e-15.
_C = tuple(math.log(2.0) ** k / math.factorial(k) for k in range(12))
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11 = _C

if numba.config.DISABLE_JIT:

    def _float_of_bits(bits: int) -> float:
        return float(struct.unpack("<d", struct.pack("<q", bits))[0])

else:

    @intrinsic
    def _float_of_bits(typing_context: Any, bits: Any) -> Any:
        """Read the 64 bits of an integer as a float."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], llvmlite.ir.DoubleType())

        return numba.float64(numba.int64), generate


@inline
def exp(x):
    """Exponential of x ≤ 0 (up to about 700) with relative error below 1e-13, and 4e-308 for all lower x.

    2^y for y = x log₂e: the integer part goes into the exponent bits, the rest through a polynomial.
    """
    y = max(x * _LOG2_E, -1021.0)
    whole = np.floor(y + 0.5)
    f = y - whole
    p = _C11
    p = _C10 + f * p
    p = _C9 + f * p
    p = _C8 + f * p
    p = _C7 + f * p
    p = _C6 + f * p
    p = _C5 + f * p
    p = _C4 + f * p
    p = _C3 + f * p
    p = _C2 + f * p
    p = _C1 + f * p
    p = _C0 + f * p
    # Through int32, as AVX2 converts no float64 to int64.
    return p * _float_of_bits((np.int64(np.int32(whole)) + np.int64(1023)) << np.int64(52))
