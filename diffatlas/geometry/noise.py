"""Noise near other noise, and seeds that give it.

In D dimensions Gaussian noise lies close to a sphere of radius sqrt(D), and that is where a model expects it. A
straight line between two samples, or a sum of two, leaves the sphere; the two formulas here stay on it.

Arrays are NumPy arrays or torch tensors of floating-point numbers of any shape. There is no batch axis: the whole
array is one vector. Sums are in float64 where the device has it, and the result has the type of the first argument.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from diffatlas.errors import InvalidParams

#: The largest seed; that of `diffatlas.request.MAX_SEED`, which a room above this one checks.
LARGEST_SEED = 2**63 - 1
#: Derived seeds fit in 32 bits: every backend takes them, and JavaScript reads them without rounding.
DERIVED_SEEDS = 2**32
#: Neighbours at most.
MOST = 100_000
#: Below this angle, in radians, the arc and the chord are the same to rounding.
PARALLEL = 1e-6


def perturb(x: Any, eps: Any, radius: float) -> Any:
    """Return sqrt(1 - r^2) x + r eps: noise at radius r from x, with the distribution of x's norm.

    x, eps: independent standard normal noise of one shape (any common factor passes through). The result is
    standard normal again for every r, and its correlation with x is sqrt(1 - r^2): the variance-preserving step of
    Ho et al. 2020 (arXiv 2006.11239, eq. 4), also preconditioned Crank-Nicolson (Cotter et al. 2013). Its distance
    from x is about sqrt(2 (1 - sqrt(1 - r^2))) |x|, so r |x| for small r.
    radius: 0 (x exactly) to 1 (eps exactly).

    Raises `InvalidParams` for a radius outside [0, 1] or arrays of different shapes.
    """
    radius = _share("radius", radius)
    _check_shapes(x, eps)
    if radius == 0:
        return x * 1
    if radius == 1:
        return eps * 1
    return _back(math.sqrt((1 - radius) * (1 + radius)) * _wide(x) + radius * _wide(eps), x)


def slerp(a: Any, b: Any, t: float) -> Any:
    """Return the point at the fraction t of the way from a to b along their great circle (Shoemake 1985).

    sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, where w is the angle between a and b; the norm goes evenly from
    |a| to |b| where they differ little. Nearly parallel arrays (`PARALLEL`) and zeros are interpolated linearly.
    t: 0 (a exactly) to 1 (b exactly).

    Raises `InvalidParams` for t outside [0, 1], arrays of different shapes, or opposite arrays, through which every
    great circle passes.
    """
    t = _share("fraction", t)
    _check_shapes(a, b)
    if t == 0:
        return a * 1
    if t == 1:
        return b * 1
    wide_a, wide_b = _wide(a), _wide(b)
    angle = _angle(wide_a, wide_b)
    if angle < PARALLEL:
        return _back((1 - t) * wide_a + t * wide_b, a)
    if math.pi - angle < PARALLEL:
        raise InvalidParams("The two noises are opposite, so no one arc leads from one to the other.")
    weights = math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
    return _back(weights[0] * wide_a + weights[1] * wide_b, a)


def seeds_around(anchor: int, k: int, offset: int) -> tuple[int, ...]:
    """Return k distinct seeds within ``offset`` of the anchor: never the anchor, never negative.

    They depend on the three arguments alone, and the seeds of a smaller k are the first ones of a larger k. The
    distance between seeds means nothing to the noise that they give: any two draws are independent.

    Raises `InvalidParams` where fewer than k such seeds exist.
    """
    _whole("seed", "The anchor's seed", anchor, 0, LARGEST_SEED)
    _whole("k", "The number of neighbours", k, 1, MOST)
    _whole("offset", "The offset", offset, 1, None)
    low, high = max(0, anchor - offset), min(LARGEST_SEED, anchor + offset)
    if high - low < k:
        raise InvalidParams(
            f"Only {high - low} seeds lie within {offset} of {anchor}, not {k}: give a larger offset.",
            field="offset",
        )
    seeds = (low + i for i in _draw((1, anchor, offset), k, high - low))
    return tuple(seed if seed < anchor else seed + 1 for seed in seeds)


def derived_seeds(anchor: int, k: int) -> tuple[int, ...]:
    """Return k distinct seeds below 2^32 for the noise eps of an anchor's neighbours; never the anchor itself.

    They depend on the anchor alone, and the seeds of a smaller k are the first ones of a larger k.
    """
    _whole("seed", "The anchor's seed", anchor, 0, LARGEST_SEED)
    _whole("k", "The number of neighbours", k, 1, MOST)
    return tuple(i + (i >= anchor) for i in _draw((2, anchor), k, DERIVED_SEEDS - 1))


def _draw(entropy: tuple[int, ...], k: int, n: int) -> list[int]:
    """k distinct numbers below n: the first k of a Fisher-Yates shuffle of which only the moved ones are kept."""
    # The words of a SeedSequence are the same in every version of NumPy; those of a Generator are not.
    words = np.random.SeedSequence(entropy).generate_state(2 * k, np.uint64).tolist()
    moved: dict[int, int] = {}
    drawn = []
    for i in range(k):
        # 128 bits, so that the remainder favours no number.
        j = i + (words[2 * i] << 64 | words[2 * i + 1]) % (n - i)
        drawn.append(moved.get(j, j))
        moved[j] = moved.get(i, i)
    return drawn


def _angle(a: Any, b: Any) -> float:
    """Angle between two arrays in radians, accurate for small ones too (Kahan 2006, "How futile..."); 0 for zeros."""
    length_a, length_b = _norm(a), _norm(b)
    if length_a == 0 or length_b == 0:
        return 0.0
    a, b = a / length_a, b / length_b
    return 2 * math.atan2(_norm(a - b), _norm(a + b))


def _norm(x: Any) -> float:
    return math.sqrt(float((x * x).sum()))


def _wide(x: Any) -> Any:
    """The array in float64, or in float32 on a device that has no float64."""
    if isinstance(x, np.ndarray):
        return x.astype(np.float64)
    return x.float() if x.device.type == "mps" else x.double()


def _back(result: Any, like: Any) -> Any:
    return result.astype(like.dtype) if isinstance(like, np.ndarray) else result.to(like.dtype)


def _check_shapes(a: Any, b: Any) -> None:
    if tuple(a.shape) != tuple(b.shape):
        raise InvalidParams(
            f"Noises of different shapes cannot be mixed: one is {tuple(a.shape)}, the other {tuple(b.shape)}."
        )


def _share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
        field = "radius" if name == "radius" else None
        raise InvalidParams(f"The {name} is {value!r}: give a number from 0 to 1.", field=field)
    return float(value)


def _whole(field: str, name: str, value: int, low: int, high: int | None) -> None:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < low or (high and value > high):
        bounds = f"from {low} to {high}" if high else f"of at least {low}"
        raise InvalidParams(f"{name} is {value!r}: give a whole number {bounds}.", field=field)
