"""Sums over pairs with Gaussian kernels: log density, score, its Jacobian and its variance, in O(n) memory.

Sources are stored one row a dimension (structure of arrays) and taken in tiles that stay in the first-level
cache. Each source j has its own precision 1/h_j²; a leave-one-out sum at sample point i uses a second one
for those j that counted i among their neighbours when h_j was chosen, so that i leaves no trace in it.
Weights enter through the offsets. A source may stand for several equal observations: of its own term a share
`exp(kept)` is then left when one of them is left out, and their errors are independent.
"""

from __future__ import annotations

import numpy as np

from infoplane.kernels.exp import exp
from infoplane.kernels.jit import kernel

_TILE = 256
# Terms smaller than exp(-40) = 4e-18 of the largest change no bit of the sum.
_NEGLIGIBLE = 40.0
_EMPTY = -1e300


@kernel
def log_sums(
    start,
    stop,
    targets,
    own,
    sources,
    precision,
    offset,
    precision_loo,
    offset_loo,
    reach,
    kept,
    scales,
    out,
):
    """log Σ_j exp(offset_j − ½ s |t_i − x_j|² precision_j) for every s in `scales`.

    `own[i]` is the row of target i among the sources, one observation of which is left out, or −1.
    """
    d, n = sources.shape
    squared = np.empty(_TILE)
    exponent = np.empty(_TILE)
    rate = np.empty(_TILE)
    base = np.empty(_TILE)
    for i in range(start, stop):
        top = np.full(scales.size, _EMPTY)
        total = np.zeros(scales.size)
        for first in range(0, n, _TILE):
            m = min(_TILE, n - first)
            here = slice(first, first + m)
            squared[:] = 0.0
            for a in range(d):
                t = targets[i, a]
                x = sources[a, here]
                for j in range(m):
                    squared[j] += (x[j] - t) ** 2
            far_rate, far_base = precision[here], offset[here]
            near_rate, near_base, limit = precision_loo[here], offset_loo[here], reach[here]
            for j in range(m):
                near = squared[j] <= limit[j]
                rate[j] = -0.5 * squared[j] * (near_rate[j] if near else far_rate[j])
                base[j] = near_base[j] if near else far_base[j]
            skip = own[i] - first
            for q in range(scales.size):
                for j in range(m):
                    exponent[j] = base[j] + scales[q] * rate[j]
                if 0 <= skip < m:
                    exponent[skip] += kept[own[i]]
                highest = _EMPTY
                for j in range(m):
                    highest = max(highest, exponent[j])
                if highest < top[q] - _NEGLIGIBLE:
                    continue
                if highest > top[q]:
                    total[q] *= exp(max(top[q] - highest, -700.0))
                    top[q] = highest
                part = 0.0
                for j in range(m):
                    part += exp(exponent[j] - top[q])
                total[q] += part
        for q in range(scales.size):
            out[i, q] = top[q] + np.log(total[q])


@kernel
def moments(
    start,
    stop,
    targets,
    own,
    sources,
    precision,
    offset,
    precision_loo,
    offset_loo,
    reach,
    kept,
    single,
    log_sum,
    score,
    jacobian,
    variance,
):
    """Log kernel sum, its gradient s, the Jacobian ∇s, and the sampling variance of s, at each target.

    With w_j the kernel values and u_j = (x_j − t) precision_j: s = Σwu/Σw,
    ∇s = Σw(uuᵀ − precision I)/Σw − ssᵀ, Var s ≈ Σw²c(u − s)(u − s)ᵀ/(Σw)², c_j the share of a single
    observation in source j.
    """
    d, n = sources.shape
    squared = np.empty(_TILE)
    exponent = np.empty(_TILE)
    rate = np.empty(_TILE)
    weight = np.empty(_TILE)
    u = np.empty((d, _TILE))
    wu = np.empty((d, _TILE))
    sum_wu = np.empty(d)
    sum_wwu = np.empty(d)
    sum_wuu = np.empty((d, d))
    sum_wwuu = np.empty((d, d))
    counted = single.min() < 1.0
    for i in range(start, stop):
        top = _EMPTY
        sum_w = 0.0
        sum_ww = 0.0
        sum_wrate = 0.0
        sum_wu[:] = 0.0
        sum_wwu[:] = 0.0
        sum_wuu[:] = 0.0
        sum_wwuu[:] = 0.0
        for first in range(0, n, _TILE):
            m = min(_TILE, n - first)
            here = slice(first, first + m)
            squared[:] = 0.0
            for a in range(d):
                t = targets[i, a]
                x = sources[a, here]
                for j in range(m):
                    u[a, j] = x[j] - t
                    squared[j] += u[a, j] * u[a, j]
            far_rate, far_base = precision[here], offset[here]
            near_rate, near_base, limit = precision_loo[here], offset_loo[here], reach[here]
            for j in range(m):
                near = squared[j] <= limit[j]
                rate[j] = near_rate[j] if near else far_rate[j]
                exponent[j] = (near_base[j] if near else far_base[j]) - 0.5 * squared[j] * rate[j]
            skip = own[i] - first
            if 0 <= skip < m:
                exponent[skip] += kept[own[i]]
            highest = _EMPTY
            for j in range(m):
                highest = max(highest, exponent[j])
            if highest < top - _NEGLIGIBLE:
                continue
            if highest > top:
                shrink = exp(max(top - highest, -700.0))
                sum_w *= shrink
                sum_wrate *= shrink
                sum_ww *= shrink * shrink
                for a in range(d):
                    sum_wu[a] *= shrink
                    sum_wwu[a] *= shrink * shrink
                    for b in range(a + 1):
                        sum_wuu[a, b] *= shrink
                        sum_wwuu[a, b] *= shrink * shrink
                top = highest
            part_w = 0.0
            part_ww = 0.0
            part_wrate = 0.0
            for j in range(m):
                w = exp(exponent[j] - top)
                weight[j] = w
                part_w += w
                part_ww += w * w
                part_wrate += w * rate[j]
            sum_w += part_w
            sum_ww += part_ww
            sum_wrate += part_wrate
            for a in range(d):
                part_wu = 0.0
                part_wwu = 0.0
                for j in range(m):
                    u[a, j] *= rate[j]
                    wu[a, j] = weight[j] * u[a, j]
                    part_wu += wu[a, j]
                    part_wwu += weight[j] * wu[a, j]
                sum_wu[a] += part_wu
                sum_wwu[a] += part_wwu
                for b in range(a + 1):
                    part_wuu = 0.0
                    part_wwuu = 0.0
                    for j in range(m):
                        part_wuu += wu[a, j] * u[b, j]
                        part_wwuu += wu[a, j] * wu[b, j]
                    sum_wuu[a, b] += part_wuu
                    sum_wwuu[a, b] += part_wwuu
            if not counted:
                continue
            # The c observations in a source err independently: of its square all but 1/c is too much.
            for j in range(m):
                weight[j] *= weight[j] * (1.0 - single[first + j])
            if 0 <= skip < m and single[own[i]] < 1.0:
                # One of them is left out: of the square of c − 1 that are left, all but 1/(c − 1).
                weight[skip] *= (1.0 - single[own[i]] / (1.0 - single[own[i]])) / (1.0 - single[own[i]])
            for j in range(m):
                sum_ww -= weight[j]
                for a in range(d):
                    sum_wwu[a] -= weight[j] * u[a, j]
                    for b in range(a + 1):
                        sum_wwuu[a, b] -= weight[j] * u[a, j] * u[b, j]
        log_sum[i] = top + np.log(sum_w)
        for a in range(d):
            score[i, a] = sum_wu[a] / sum_w
        for a in range(d):
            for b in range(a + 1):
                sa = score[i, a]
                sb = score[i, b]
                value = sum_wuu[a, b] / sum_w - sa * sb
                if a == b:
                    value -= sum_wrate / sum_w
                jacobian[i, a, b] = value
                jacobian[i, b, a] = value
                value = (sum_wwuu[a, b] - sa * sum_wwu[b] - sb * sum_wwu[a] + sa * sb * sum_ww) / (
                    sum_w * sum_w
                )
                variance[i, a, b] = value
                variance[i, b, a] = value
