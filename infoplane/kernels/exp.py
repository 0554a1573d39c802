"""An exponential and a logarithm that LLVM can vectorise, several times as fast as those it calls in libm."""

from __future__ import annotations

import math
import struct
from typing import Any

import llvmlite.ir
import numba
import numpy as np
from numba.extending import intrinsic
from numpy.polynomial import Polynomial, chebyshev
from scipy.special import iv

from infoplane.kernels.jit import inline

_LOG2_E = 1.0 / math.log(2.0)
# 2^f on |f| ≤ ½ by the Chebyshev series of exp(½ t ln 2), |t| ≤ 1, whose coefficients are Bessel functions:
# what is left out is 2 I₁₀(½ ln 2) = 1.4e-14 (the Taylor series needs two more terms for that).
_SERIES = 2 * iv(np.arange(10), 0.5 * math.log(2.0))
_SERIES[0] /= 2
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9 = (
    float(c) for c in chebyshev.cheb2poly(_SERIES) * 2.0 ** np.arange(10)
)
# Adding it leaves a whole number of up to 32 bits in the low bits of the sum.
_WHOLE = 1.5 * 2.0**52

_LOG_2 = math.log(2.0)
# (artanh(s)/s − 1)/s² as a polynomial of z = s² for |s| ≤ (√2 − 1)/(√2 + 1), by interpolation at Chebyshev's
# nodes: of 1/3 + z/5 + …, what is left out is below 1e-15.
_LARGEST_SQUARE = ((math.sqrt(2.0) - 1) / (math.sqrt(2.0) + 1)) ** 2
_INTERPOLANT = chebyshev.Chebyshev.interpolate(
    Polynomial([1 / (2 * k + 3) for k in range(12)]), 6, domain=[0.0, _LARGEST_SQUARE]
)
_L0, _L1, _L2, _L3, _L4, _L5, _L6 = (float(c) for c in _INTERPOLANT.convert(kind=Polynomial).coef)
# Bits of 1 and of √½, what they differ by, and those of the fraction of a float.
_ONE, _ROOT_HALF, _FRACTION = 0x3FF0000000000000, 0x3FE6A09E667F3BCD, 0x000FFFFFFFFFFFFF
_SHIFT = _ONE - _ROOT_HALF
# The bits of 2¹¹ + k for a whole number k < 2¹¹ are those of 2¹¹ with k at the head of the fraction. Where
# fast arithmetic takes (x − y) f for xf − yf, numbers as small as that cost 2e-13 at most.
_EXPONENT, _LARGE, _OFFSET = 0x7FF << 41, 0x40A0000000000000, 2048.0 + 1023
_LEAST_NORMAL = 2.0**-1022

if numba.config.DISABLE_JIT:

    def _float_of_bits(bits: int) -> float:
        return float(struct.unpack("<d", struct.pack("<Q", int(bits) % 2**64))[0])

    def _bits_of_float(x: float) -> int:
        return int(struct.unpack("<q", struct.pack("<d", x))[0])

    def _nearest(x: float) -> float:
        return float(np.rint(x))

else:

    @intrinsic
    def _float_of_bits(typing_context: Any, bits: Any) -> Any:
        """Read the 64 bits of an integer as a float."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], llvmlite.ir.DoubleType())

        return numba.float64(numba.int64), generate

    @intrinsic
    def _bits_of_float(typing_context: Any, x: Any) -> Any:
        """Read the 64 bits of a float as an integer."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], llvmlite.ir.IntType(64))

        return numba.int64(numba.float64), generate

    @intrinsic
    def _nearest(typing_context: Any, x: Any) -> Any:
        """Round to the nearest whole number: one instruction, where adding ½ and `np.floor` are two."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            function = builder.module.declare_intrinsic("llvm.rint", [llvmlite.ir.DoubleType()])
            return builder.call(function, arguments)

        return numba.float64(numba.float64), generate


@inline
def exp(x):
    """Exponential of x ≤ 0 with relative error below 2e-14 + 1.2e-16 |x|, and 4e-308 for all x below −707.

    2^y for y = x log₂e: a polynomial in what rounding y leaves, to whose exponent bits the whole number is
    added. No conversion of floats to integers, which AVX2 has for 32 bits only.
    """
    y = max(x * _LOG2_E, -1021.0)
    whole = _nearest(y)
    f = y - whole
    p = _C9
    p = _C8 + f * p
    p = _C7 + f * p
    p = _C6 + f * p
    p = _C5 + f * p
    p = _C4 + f * p
    p = _C3 + f * p
    p = _C2 + f * p
    p = _C1 + f * p
    p = _C0 + f * p
    return _float_of_bits(_bits_of_float(p) + (_bits_of_float(whole + _WHOLE) << np.int64(52)))


@inline
def log(x):
    """Natural logarithm of a finite x > 0, subnormal or not, to four units in the last place.

    x = 2^k m with m in [√½, √2), and log m = 2 artanh s for s = (m − 1)/(m + 1).
    """
    small = x < _LEAST_NORMAL
    bits = _bits_of_float(x * 2.0**54 if small else x) + _SHIFT
    exponent = _float_of_bits(((bits >> 11) & _EXPONENT) | _LARGE) - _OFFSET
    exponent -= 54.0 if small else 0.0
    m = _float_of_bits((bits & _FRACTION) + _ROOT_HALF)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = _L6
    p = _L5 + z * p
    p = _L4 + z * p
    p = _L3 + z * p
    p = _L2 + z * p
    p = _L1 + z * p
    p = _L0 + z * p
    return exponent * _LOG_2 + (s + s) * (1.0 + z * p)
