"""Sums over pairs with Gaussian kernels: log density, score, its Jacobian and its variance, in O(n) memory.

Sources are stored one row a dimension (structure of arrays) and taken in tiles that stay in the first-level
cache. Each source j has its own precision 1/h_j²; a leave-one-out sum at sample point i uses a second one
for those j that counted i among their neighbours when h_j was chosen, so that i leaves no trace in it.
Weights enter through the offsets. A source may stand for several equal observations: of its own term a share
`exp(kept)` is then left when one of them is left out, and their errors are independent.

Exponents are taken relative to the largest offset, which none exceeds; only where the sum vanishes at that
shift (a target that no kernel reaches) does `log_sums` look for the largest exponent, and take the sum again.
`scores` and `moments` take the shift of each target from the caller, and return −∞ as the logarithm of a sum
that vanishes at it. Loops are written so that LLVM vectorises them: few arrays each, as it must prove that
they do not overlap, and no load under a condition.
"""

from __future__ import annotations

import math

import numpy as np

from infoplane.kernels.exp import exp
from infoplane.kernels.jit import kernel, once, part

_TILE = 512
# Below this the sum may consist of what `exp` returns for all that vanishes, 4e-308 a term.
VANISHED = 1e-280
# Rows that a band of `symmetric_sums` takes at a time.
_ROWS = 32
_EMPTY = -1e300
_LEAST_SQUARE = 1e-300
# Squared distance that no kernel spans.
_FAR = 1e300


@once
def squared_distances(at, sources, first, m, out):
    """|t − x_j|² for m sources from the `first` on, four dimensions a pass."""
    d = sources.shape[0]
    a = (d - 1) % 4 + 1
    here = slice(first, first + m)
    t0, x0 = at[0], sources[0, here]
    if a == 1:
        for j in range(m):
            out[j] = (x0[j] - t0) ** 2
    elif a == 2:
        t1, x1 = at[1], sources[1, here]
        for j in range(m):
            out[j] = (x0[j] - t0) ** 2 + (x1[j] - t1) ** 2
    else:
        t1, x1, t2, x2 = at[1], sources[1, here], at[2], sources[2, here]
        if a == 3:
            for j in range(m):
                out[j] = (x0[j] - t0) ** 2 + (x1[j] - t1) ** 2 + (x2[j] - t2) ** 2
        else:
            t3, x3 = at[3], sources[3, here]
            for j in range(m):
                out[j] = ((x0[j] - t0) ** 2 + (x1[j] - t1) ** 2) + ((x2[j] - t2) ** 2 + (x3[j] - t3) ** 2)
    while a < d:
        t0, t1, t2, t3 = at[a], at[a + 1], at[a + 2], at[a + 3]
        x0, x1, x2, x3 = sources[a, here], sources[a + 1, here], sources[a + 2, here], sources[a + 3, here]
        for j in range(m):
            out[j] += ((x0[j] - t0) ** 2 + (x1[j] - t1) ** 2) + ((x2[j] - t2) ** 2 + (x3[j] - t3) ** 2)
        a += 4


@part
def _largest(values):
    """What `values.max()` is, compiled in a tenth of the time."""
    largest = values[0]
    for j in range(values.size):
        largest = max(largest, values[j])
    return largest


@part
def _choose(squared, limit, near, far, m, out):
    """`near` where a source counted the target among its neighbours, else `far`."""
    for j in range(m):
        a, b = near[j], far[j]
        out[j] = a if squared[j] <= limit[j] else b


@once
def _log_sum(
    at, skip, sources, precision, offset, precision_loo, offset_loo, reach, adapted, scale, shift, work
):
    """Σ_j exp(offset_j − ½ scale |t − x_j|² precision_j − shift) but for j = `skip`, or the largest exponent.

    The latter if `shift` is not a number.
    """
    n = sources.shape[1]
    squared, rate, base = work[0], work[1], work[2]
    total, highest = 0.0, _EMPTY
    half = -0.5 * scale
    search = math.isnan(shift)
    for first in range(0, n, _TILE):
        m = min(_TILE, n - first)
        squared_distances(at, sources, first, m, squared)
        rates, bases = precision[first : first + m], offset[first : first + m]
        if adapted:
            limit = reach[first : first + m]
            _choose(squared, limit, precision_loo[first : first + m], rates, m, rate)
            _choose(squared, limit, offset_loo[first : first + m], bases, m, base)
            rates, bases = rate[:m], base[:m]
        if 0 <= skip - first < m:
            squared[skip - first] = _FAR
        if search:
            for j in range(m):
                highest = max(highest, bases[j] + half * squared[j] * rates[j])
        else:
            part = 0.0
            for j in range(m):
                part += exp(bases[j] - shift + half * squared[j] * rates[j])
            total += part
    return highest if search else total


@kernel
def log_sums(
    start, stop, targets, own, sources, precision, offset, precision_loo, offset_loo, reach, kept, scales, out
):
    """log Σ_j exp(offset_j − ½ s |t_i − x_j|² precision_j) for every s in `scales`.

    `own[i]` is the row of target i among the sources, one observation of which is left out, or −1.
    """
    adapted = _largest(reach) >= 0.0
    top = _largest(offset)
    if adapted:
        top = max(top, _largest(offset_loo))
    work = np.empty((3, _TILE))
    for i in range(start, stop):
        skip = own[i]
        rest = _EMPTY
        if skip >= 0:
            rest = kept[skip] + (offset_loo[skip] if reach[skip] >= 0.0 else offset[skip])
        for q in range(scales.size):
            # At the common shift; if the sum vanishes there, the largest exponent, and once more at that.
            shift, again = top, False
            while True:
                total = _log_sum(
                    targets[i], skip, sources, precision, offset, precision_loo, offset_loo, reach, adapted,
                    scales[q], shift, work,
                )  # fmt: skip
                if math.isnan(shift):
                    shift, again = max(total, rest), True
                    continue
                total += exp(max(rest - shift, -1e4))
                if again or total >= VANISHED:
                    break
                shift = np.nan
            out[i, q] = shift + np.log(total)


@kernel
def symmetric_sums(start, stop, points, sources, mass, scale, parts):
    """Add to row b of `parts`, for each band b, Σ_j mass_j exp(−½ scale |x_i − x_j|²) over pairs i ≠ j.

    Every pair is visited once, in the band of its first point, and counts for both. A fixed number of bands
    keeps the order of additions, whoever runs them.
    """
    n = sources.shape[1]
    bands = parts.shape[0]
    squared = np.empty(_TILE)
    half = -0.5 * scale
    for band in range(start, stop):
        for low in range(band * _ROWS, n, bands * _ROWS):
            high = min(low + _ROWS, n)
            for tile in range(low, n, _TILE):
                end = min(tile + _TILE, n)
                for i in range(low, high):
                    first = max(tile, i + 1)
                    m = end - first
                    if m <= 0:
                        continue
                    squared_distances(points[i], sources, first, m, squared)
                    masses, part = mass[first:end], parts[band, first:end]
                    mine, total = mass[i], 0.0
                    for j in range(m):
                        kernel_value = exp(half * squared[j])
                        part[j] += mine * kernel_value
                        total += masses[j] * kernel_value
                    parts[band, i] += total


@kernel
def scores(
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
    shift,
    log_sum,
    score,
    divergence,
):
    """Log kernel sum, its gradient s and the divergence of s at each target: `moments` without matrices."""
    d, n = sources.shape
    adapted = _largest(reach) >= 0.0
    work = np.empty((4, _TILE))
    squared, rate, base, weight = work[0], work[1], work[2], work[3]
    gradient = np.empty(d)
    for i in range(start, stop):
        at, skip = targets[i], own[i]
        rest, own_rate = _EMPTY, 0.0
        if skip >= 0:
            near = reach[skip] >= 0.0
            rest = kept[skip] + (offset_loo[skip] if near else offset[skip])
            own_rate = precision_loo[skip] if near else precision[skip]
        top = shift[i]
        left = exp(max(rest - top, -1e4))
        total, bend = left, -d * left * own_rate
        gradient[:] = 0.0
        for first in range(0, n, _TILE):
            m = min(_TILE, n - first)
            squared_distances(at, sources, first, m, squared)
            rates, bases = precision[first : first + m], offset[first : first + m]
            if adapted:
                limit = reach[first : first + m]
                _choose(squared, limit, precision_loo[first : first + m], rates, m, rate)
                _choose(squared, limit, offset_loo[first : first + m], bases, m, base)
                rates, bases = rate[:m], base[:m]
            for j in range(m):
                weight[j] = exp(bases[j] - top - 0.5 * squared[j] * rates[j])
            if 0 <= skip - first < m:
                weight[skip - first] = 0.0
            part = part_bend = 0.0
            for j in range(m):
                w = weight[j]
                part += w
                w *= rates[j]
                weight[j] = w
                part_bend += w * (rates[j] * squared[j] - d)
            total += part
            bend += part_bend
            for a in range(d):
                t, x = at[a], sources[a, first : first + m]
                part = 0.0
                for j in range(m):
                    part += weight[j] * (x[j] - t)
                gradient[a] += part
        if total <= VANISHED:
            log_sum[i] = -np.inf
            continue
        log_sum[i] = shift[i] + np.log(total)
        length = 0.0
        for a in range(d):
            score[i, a] = gradient[a] / total
            length += score[i, a] ** 2
        divergence[i] = bend / total - length


@part
def _add_products(wu, u, v, m, wuu, wwuu):
    """Add Σ wu_a u_b to `wuu` and Σ wu_a v_b to `wwuu` for b ≤ a, from d = 4 on in blocks of two by two.

    Eight sums from six loads keep the multipliers busy; one at a time, loads would be the limit.
    """
    d = wuu.shape[0]
    even = d - d % 2 if d > 3 else 0
    for a in range(0, even, 2):
        for b in range(0, a + 1, 2):
            p00 = p01 = p10 = p11 = q00 = q01 = q10 = q11 = 0.0
            for j in range(m):
                p00 += wu[a, j] * u[b, j]
                p01 += wu[a, j] * u[b + 1, j]
                p10 += wu[a + 1, j] * u[b, j]
                p11 += wu[a + 1, j] * u[b + 1, j]
                q00 += wu[a, j] * v[b, j]
                q01 += wu[a, j] * v[b + 1, j]
                q10 += wu[a + 1, j] * v[b, j]
                q11 += wu[a + 1, j] * v[b + 1, j]
            wuu[a, b] += p00
            wuu[a + 1, b] += p10
            wuu[a + 1, b + 1] += p11
            wwuu[a, b] += q00
            wwuu[a + 1, b] += q10
            wwuu[a + 1, b + 1] += q11
            if b < a:
                wuu[a, b + 1] += p01
                wwuu[a, b + 1] += q01
    for a in range(even, d):
        for b in range(a + 1):
            p = q = 0.0
            for j in range(m):
                p += wu[a, j] * u[b, j]
                q += wu[a, j] * v[b, j]
            wuu[a, b] += p
            wwuu[a, b] += q


@once
def _add_moments(
    at,
    skip,
    sources,
    precision,
    offset,
    precision_loo,
    offset_loo,
    reach,
    single,
    adapted,
    counted,
    shift,
    work,
    u,
    wu,
    v,
    sums,
    vectors,
    matrices,
):
    """Set `sums` to Σw, Σw·precision, Σw²c, `vectors` to Σwu, Σw²cu, `matrices` to lower Σwuuᵀ, Σw²cuuᵀ.

    Without the source `skip`, and with all w multiplied by exp(−shift).
    """
    d, n = sources.shape
    squared, rate, base, weight = work[0], work[1], work[2], work[3]
    sums[:] = 0.0
    vectors[:] = 0.0
    matrices[:] = 0.0
    for first in range(0, n, _TILE):
        m = min(_TILE, n - first)
        squared_distances(at, sources, first, m, squared)
        rates, bases = precision[first : first + m], offset[first : first + m]
        if adapted:
            limit = reach[first : first + m]
            _choose(squared, limit, precision_loo[first : first + m], rates, m, rate)
            _choose(squared, limit, offset_loo[first : first + m], bases, m, base)
            rates, bases = rate[:m], base[:m]
        for j in range(m):
            weight[j] = exp(bases[j] - shift - 0.5 * squared[j] * rates[j])
        if 0 <= skip - first < m:
            weight[skip - first] = 0.0
        shares = single[first : first + m]
        sum_w = sum_ww = sum_wrate = 0.0
        for j in range(m):
            sum_w += weight[j]
            sum_wrate += weight[j] * rates[j]
            sum_ww += weight[j] * weight[j] * shares[j]
        sums[0] += sum_w
        sums[1] += sum_wrate
        sums[2] += sum_ww
        for a in range(d):
            t, x = at[a], sources[a, first : first + m]
            part_wu = part_wwu = 0.0
            for j in range(m):
                step = (x[j] - t) * rates[j]
                u[a, j] = step
                step *= weight[j]
                wu[a, j] = step
                part_wu += step
                part_wwu += weight[j] * step
            if counted:
                part_wwu = 0.0
                for j in range(m):
                    v[a, j] = wu[a, j] * shares[j]
                    part_wwu += weight[j] * wu[a, j] * shares[j]
            vectors[0, a] += part_wu
            vectors[1, a] += part_wwu
        _add_products(wu, u, v, m, matrices[0], matrices[1])


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
    counted,
    shift,
    log_sum,
    score,
    jacobian,
    variance,
):
    """Log kernel sum, its gradient s, the Jacobian ∇s, and the sampling variance of s, at each target.

    With w_j the kernel values and u_j = (x_j − t) precision_j: s = Σwu/Σw,
    ∇s = Σw(uuᵀ − precision I)/Σw − ssᵀ, Var s ≈ Σw²c(u − s)(u − s)ᵀ/(Σw)², c_j the share of a single
    observation in source j; `counted` says whether any is below 1.
    """
    d = sources.shape[0]
    adapted = _largest(reach) >= 0.0
    work = np.empty((4, _TILE))
    u, wu = np.empty((d, _TILE)), np.empty((d, _TILE))
    v = np.empty((d, _TILE)) if counted else wu
    sums, vectors, matrices = np.empty(3), np.empty((2, d)), np.empty((2, d, d))
    for i in range(start, stop):
        skip = own[i]
        rest, own_rate, own_share = _EMPTY, 0.0, 0.0
        if skip >= 0:
            near = reach[skip] >= 0.0
            rest = kept[skip] + (offset_loo[skip] if near else offset[skip])
            own_rate = precision_loo[skip] if near else precision[skip]
            if single[skip] < 1.0:
                # One of c equal observations is left out: the others count 1/(c − 1) each.
                own_share = single[skip] / (1.0 - single[skip])
        _add_moments(
            targets[i], skip, sources, precision, offset, precision_loo, offset_loo, reach, single,
            adapted, counted, shift[i], work, u, wu, v, sums, vectors, matrices,
        )  # fmt: skip
        left = exp(max(rest - shift[i], -1e4))
        if sums[0] + left <= VANISHED:
            log_sum[i] = -np.inf
            continue
        # What is left of the own source lies at distance zero.
        total = sums[0] + left
        squares = sums[2] + left * left * own_share
        log_sum[i] = shift[i] + np.log(total)
        for a in range(d):
            score[i, a] = vectors[0, a] / total
        for a in range(d):
            for b in range(a + 1):
                sa, sb = score[i, a], score[i, b]
                value = matrices[0, a, b] / total - sa * sb
                if a == b:
                    value -= (sums[1] + left * own_rate) / total
                jacobian[i, a, b] = value
                jacobian[i, b, a] = value
                value = matrices[1, a, b] - sa * vectors[1, b] - sb * vectors[1, a] + sa * sb * squares
                # The square of what a far kernel leaves underflows, and with it all that it divides.
                value /= max(total * total, _LEAST_SQUARE)
                variance[i, a, b] = value
                variance[i, b, a] = value
