"""Measures of attention maps: entropy, activation, divergence, resampling, DAAM's heat maps, overlap with a box.

A cross-attention map here is (..., tokens, h, w): for each place of the image (a query) the probabilities with which
it looks at each text token (a key). In a UNet they sum to 1 over the tokens. In joint attention, where the keys
are text and image together, the text's share is less than 1: entropy and divergence are those of the distribution
over the text, given that the place looks at text at all; activation keeps the share.

Natural logarithms throughout (nats). Inputs may be float16; sums are float32 or better.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from diffatlas.errors import InvalidParams

#: Probabilities below this count as this in logarithms: the floor of the Static Diffusion Interpretability
#: Visualizer's contract. float16 rounds values below 3e-8 to 0.
FLOOR = 1e-8
#: The a of DAAM's bicubic kernel (Keys 1981), which is that of `torch.nn.functional.interpolate`.
KEYS_A = -0.75
#: A normal distribution's standard deviation in units of its median absolute deviation.
MAD_SCALE = 1.4826
#: Fewest divergences of which a spike can be told from the rest.
FEWEST_STEPS = 5

ENTROPY_DEFINITION = (
    "Entropy: minus the sum of p ln p over the tokens that a place looks at, averaged over the places; 0 where each"
    " looks at one token only, ln n where it looks at n tokens alike."
)
KL_DEFINITION = (
    "KL divergence of a step from the one before: the sum of p ln(p / q) over the tokens, p now and q before,"
    " averaged over the places and then over the layers."
)
SPIKE_DEFINITION = (
    "Reallocation spike: a step whose KL divergence exceeds the median of all by more than three scaled median"
    " absolute deviations."
)
JS_DEFINITION = (
    "Jensen-Shannon divergence of two maps of one token, each divided by its sum: the mean KL divergence of the two"
    " from their average, 0 where they are alike and ln 2 where they share no place."
)
OVERLAP_DEFINITION = (
    "Overlap of the maps of two words: one minus their Jensen-Shannon divergence in units of ln 2, 1 where they look at"
    " the same places and 0 where they share none."
)
SHARE_DEFINITION = (
    "Share: how much of the word's map lies inside the box. A map that is the same everywhere has the box's share of"
    " the picture."
)
IOU_DEFINITION = (
    "IoU: the area where the map is at least half its maximum and that lies inside the box, divided by the area"
    " that is either."
)


def distributions(weights: np.ndarray, axis: int = -3) -> np.ndarray:
    """Return weights clipped at `FLOOR` and divided by their sum along ``axis``, float64, same shape."""
    p = np.maximum(np.asarray(weights, dtype=np.float64), FLOOR)
    return p / p.sum(axis, keepdims=True)


def entropy(weights: np.ndarray, axis: int = -3, normalised: bool = False) -> np.ndarray:
    """Entropy of the distributions along ``axis``, in nats; that axis is gone from the result.

    weights: probabilities, for cross-attention (..., tokens, h, w) and axis -3. normalised: divided by ln n, so that
    a uniform distribution has 1 (0 where there is a single token).
    """
    p = distributions(weights, axis)
    h = -(p * np.log(p)).sum(axis)
    if not normalised:
        return h
    n = p.shape[axis]
    return h / np.log(n) if n > 1 else np.zeros_like(h)


def mean_entropy(maps: np.ndarray, normalised: bool = False) -> float:
    """Mean over the places of the entropy over the tokens: maps (tokens, h, w). See `ENTROPY_DEFINITION`."""
    return float(entropy(maps, -3, normalised).mean())


def entropy_and_kl(maps: np.ndarray, before: np.ndarray | None = None) -> tuple[float, float, np.ndarray]:
    """Return (`mean_entropy`, mean KL divergence from the maps before, logarithms) of maps (tokens, h, w), in one go.

    before: the logarithms that the same function returned for the step before; None gives a divergence of NaN. The
    logarithms, float32 and of the shape of the maps, are what costs, so each is taken once.

    Raises `InvalidParams` where ``before`` has another shape.
    """
    p = np.maximum(np.asarray(maps, dtype=np.float32), np.float32(FLOOR))
    p /= p.sum(0, keepdims=True)
    logs = np.log(p)
    places = math.prod(p.shape[1:])
    entropy_now = -float(np.vdot(p, logs)) / places
    if before is None:
        return entropy_now, math.nan, logs
    _check_alike(logs, before)
    return entropy_now, max(float(np.vdot(p, logs - before)) / places, 0.0), logs


def self_entropy(maps: np.ndarray, normalised: bool = False) -> float:
    """Mean over the query cells of the entropy over the key cells: maps (gh, gw, gh, gw)."""
    gh, gw = maps.shape[-2:]
    return float(entropy(np.reshape(maps, (-1, gh * gw)), -1, normalised).mean())


def activation(maps: np.ndarray) -> np.ndarray:
    """Mean probability of every token over the places: (..., tokens, h, w) to (..., tokens), float64."""
    return np.asarray(maps).mean((-2, -1), dtype=np.float64)


def rank(scores: np.ndarray, keep: Sequence[bool] | None = None) -> list[int]:
    """Token indices by falling score, of equal ones the first first. keep: which tokens take part; None for all."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    return [int(i) for i in order if keep is None or keep[i]]


def kl(p: np.ndarray, q: np.ndarray, axis: int = -3) -> np.ndarray:
    """KL(p || q) in nats along ``axis``, both clipped at `FLOOR` and normalised; that axis is gone.

    Raises `InvalidParams` for maps of unlike shape.
    """
    _check_alike(p, q)
    p, q = distributions(p, axis), distributions(q, axis)
    return np.maximum((p * np.log(p / q)).sum(axis), 0.0)


def js(p: np.ndarray, q: np.ndarray, axis: int = -3) -> np.ndarray:
    """Jensen-Shannon divergence in nats along ``axis``, 0 to ln 2; that axis is gone (Lin 1991).

    Both are clipped at `FLOOR` and normalised. Raises `InvalidParams` for maps of unlike shape.
    """
    _check_alike(p, q)
    p, q = distributions(p, axis), distributions(q, axis)
    m = (p + q) / 2
    total = (p * np.log(p / m) + q * np.log(q / m)).sum(axis) / 2
    return np.clip(total, 0.0, np.log(2.0))


def spatial_js(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence of maps (..., h, w), each taken as a distribution over the places: (...), nats.

    See `JS_DEFINITION`. A map divided by its sum says where a token is looked at, not how much.
    """
    _check_alike(a, b)
    a, b = (_over_places(maps) for maps in (a, b))
    return js(a, b, axis=-1)


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How much maps (..., h, w) lie at the same places: (...), 0 to 1. See `OVERLAP_DEFINITION`."""
    return 1.0 - spatial_js(a, b) / np.log(2.0)


def spikes(values: Sequence[float | None]) -> list[int]:
    """Positions of the values beyond median + 3 scaled median absolute deviations. See `SPIKE_DEFINITION`.

    None and NaN (the first step has no divergence) take no part; fewer than `FEWEST_STEPS` values have no spikes.
    """
    series = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    known = series[np.isfinite(series)]
    if len(known) < FEWEST_STEPS:
        return []
    middle = np.median(known)
    limit = middle + 3 * MAD_SCALE * np.median(np.abs(known - middle))
    return [int(i) for i in np.flatnonzero(np.nan_to_num(series, nan=-np.inf) > limit + 1e-12)]


def resample(maps: np.ndarray, size: tuple[int, int], method: str = "bilinear") -> np.ndarray:
    """Return maps (..., h, w) at ``size`` (rows, columns), float32.

    method:
        "bilinear": between the cells' centres, no smoothing when shrinking, the border's value beyond it; nothing is
            renormalised, so probabilities still sum to 1 over the tokens at every place.
        "bicubic": as "bilinear" with the kernel of Keys 1981, a = -0.75; it may overshoot.
        "area": the mean over the area that a cell covers; the mean of the map is kept.
    The first two are those of ``torch.nn.functional.interpolate(..., align_corners=False, antialias=False)``.

    Raises `InvalidParams` for another method or an empty size.
    """
    maps = np.asarray(maps)
    if min(size) < 1:
        raise InvalidParams(f"A map needs at least one row and one column, not {tuple(size)}.")
    h, w = maps.shape[-2:]
    if (h, w) == tuple(size):
        return maps.astype(np.float32)
    rows, columns = _weights(h, size[0], method), _weights(w, size[1], method)
    return (rows @ (maps.astype(np.float32) @ columns.T)).astype(np.float32)


def common_grid(grids: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Return the finest (rows, columns) of some grids, the one with most cells."""
    return max(((int(h), int(w)) for h, w in grids), key=lambda grid: grid[0] * grid[1])


def scaled_grid(grid: tuple[int, int], resolution: int | tuple[int, int] | None) -> tuple[int, int]:
    """Return ``grid`` with its longer side ``resolution`` long, its shape kept; a pair is taken as it is.

    Raises `InvalidParams` for a resolution below 1 or above 4096.
    """
    if resolution is None:
        return grid
    sides = resolution if isinstance(resolution, tuple) else (resolution,)
    if any(isinstance(s, bool) or not isinstance(s, int) or not 1 <= s <= 4096 for s in sides):
        raise InvalidParams(
            f"resolution is {resolution!r}: give a number of cells from 1 to 4096, or (rows, columns).",
            field="resolution",
        )
    if isinstance(resolution, tuple):
        return resolution
    longest = max(grid)
    return max(round(grid[0] * resolution / longest), 1), max(round(grid[1] * resolution / longest), 1)


def daam(sums: Iterable[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Return DAAM's global heat map of every token, (tokens, H, W), float32 (Tang et al. 2022, arXiv 2210.04885).

    sums: for each layer its conditional cross-attention summed over time, (heads, tokens, h, w), or (1, tokens, h, w)
        of a mean over heads. size: (H, W), the latents' height and width in DAAM.

    As DAAM computes it: the maps of one layer and head, D_(layer, head) = sum over time of the conditional half, are
    upsampled bicubically (a = -0.75, half-pixel centres) to the size of the latents; values below 0, which the
    kernel's undershoot makes, become 0; then the mean over all layers and heads::

        D = mean over (layer, head) of max(0, bicubic(sum over t of A_t,layer,head))

    A word's heat map is the mean of D over its tokens. DAAM leaves out the mid block and layers 8 times smaller than
    the latents. Of a mean over heads only the rounding up to 0 differs, since the kernel is linear.

    Raises `InvalidParams` where there is no layer.
    """
    total: np.ndarray | None = None
    count = 0
    for maps in sums:
        large = np.maximum(resample(maps, size, "bicubic"), 0).astype(np.float64)
        total = large.sum(0) if total is None else total + large.sum(0)
        count += len(large)
    if total is None:
        raise InvalidParams("A DAAM map needs at least one cross-attention layer: capture attention='cross'.")
    return (total / count).astype(np.float32)


def coverage(grid: tuple[int, int], box: Sequence[float], image_size: tuple[int, int]) -> np.ndarray:
    """Return how much of every cell of a grid a box covers, (rows, columns), 0 to 1.

    box: (left, top, right, bottom) in pixels, right and bottom exclusive. image_size: (width, height) in pixels.
    """
    (rows, columns), (width, height) = grid, image_size
    left, top, right, bottom = (float(v) for v in box)
    down = _covered(rows, top * rows / height, bottom * rows / height)
    across = _covered(columns, left * columns / width, right * columns / width)
    return down[:, None] * across[None, :]


def share_inside(maps: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Share of each map's mass inside: maps (..., h, w) and the `coverage` (h, w) give (...). NaN for empty maps."""
    maps = np.asarray(maps, dtype=np.float64)
    total = maps.sum((-2, -1))
    inside = (maps * covered).sum((-2, -1))
    return np.divide(inside, total, out=np.full(np.shape(total), np.nan), where=total > 0)


def iou_at_half(maps: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """IoU of the cells where a map is at least half its maximum with a `coverage` (h, w): (...). By area."""
    maps = np.asarray(maps, dtype=np.float64)
    bright = maps >= maps.max((-2, -1), keepdims=True) / 2
    both = (bright * covered).sum((-2, -1))
    either = bright.sum((-2, -1)) + covered.sum() - both
    return both / either


def uniform_share(covered: np.ndarray) -> float:
    """The share inside of a map that is the same everywhere: the box's part of the picture."""
    return float(np.mean(covered))


def _check_alike(p: np.ndarray, q: np.ndarray) -> None:
    if np.shape(p) != np.shape(q):
        raise InvalidParams(
            f"Attention maps of shapes {np.shape(p)} and {np.shape(q)} cannot be compared: resample them first."
        )


def _over_places(maps: np.ndarray) -> np.ndarray:
    """Maps (..., h, w) as distributions over the places, (..., h * w); an empty map is even."""
    flat = np.asarray(maps, dtype=np.float64).reshape(*np.shape(maps)[:-2], -1)
    total = flat.sum(-1, keepdims=True)
    even = np.full_like(flat, 1.0 / flat.shape[-1])
    return np.divide(flat, total, out=even, where=total > 0)


def _covered(cells: int, low: float, high: float) -> np.ndarray:
    """How much of each of the cells [i, i + 1] lies between low and high."""
    edges = np.arange(cells)
    return np.clip(np.minimum(high, edges + 1) - np.maximum(low, edges), 0.0, 1.0)


@functools.lru_cache(maxsize=256)
def _weights(source: int, target: int, method: str) -> np.ndarray:
    """Return the matrix (target, source) that resamples one axis."""
    if method not in _KERNELS:
        raise InvalidParams(f"method is {method!r}: give one of {', '.join(_KERNELS)}.", field="method")
    return _KERNELS[method](source, target).astype(np.float32)


def _area(source: int, target: int) -> np.ndarray:
    edges = np.linspace(0, source, target + 1)
    rows = [_covered(source, low, high) for low, high in pairwise(edges)]
    return np.array(rows) * (target / source)


def _linear(source: int, target: int) -> np.ndarray:
    return _gathered(source, target, 1, lambda x: np.maximum(1 - np.abs(x), 0), clamp=True)


def _cubic(source: int, target: int) -> np.ndarray:
    return _gathered(source, target, 2, _keys, clamp=False)


def _keys(x: np.ndarray) -> np.ndarray:
    x, a = np.abs(x), KEYS_A
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _gathered(source: int, target: int, reach: int, kernel, clamp: bool) -> np.ndarray:
    """A kernel of ``reach`` cells around every target's centre; cells beyond the border are the border's."""
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    if clamp:
        centres = np.clip(centres, 0, source - 1)
    weights = np.zeros((target, source))
    base = np.floor(centres).astype(int)
    for offset in range(1 - reach, reach + 1):
        cell = base + offset
        np.add.at(weights, (np.arange(target), np.clip(cell, 0, source - 1)), kernel(centres - cell))
    return weights


_KERNELS = {"bilinear": _linear, "bicubic": _cubic, "area": _area}
