"""What differs between two stored runs: what was asked, what they ran on, and what came out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from diffatlas.errors import CapabilityError
from diffatlas.geometry import path as geometry
from diffatlas.library.stored import StoredRun

#: Parts of a provenance that tell runs apart and not environments, or that follow from its other parts.
_NOT_ENVIRONMENT = frozenset(
    {
        "started",
        "key",
        "identity",
        "prompt",
        "prompt_tokens",  # of runs of former versions
        "latent_rgb",
        "latent_layout",
        "batch",
        "missing",
        "call",
        "static",
    }
)
#: What was measured of a run, among its provenance.
_MEASURED = "attention.measured."


@dataclass(frozen=True)
class ImageDifference:
    """Two final images, level by level (0 to 255). Infinite where they differ in size or one run has no such image."""

    mean_absolute: float
    maximum: float
    identical: bool


@dataclass(frozen=True)
class PathDifference:
    """Two paths, state by state; 0 is x_T, k the state after k steps. Batches are compared whole."""

    #: Bit for bit, and of one length.
    identical: bool
    #: The first state that is not bit-identical; None where all are that both runs have.
    first_step: int | None
    #: The largest difference of two numbers of any state.
    maximum: float
    #: The largest distance of two states, as a part of the mean of their norms.
    relative: float
    #: Euclidean distance of each pair of states. Infinite where a state that differs holds NaN or infinity.
    distances: list[float]


@dataclass(frozen=True)
class Difference:
    """What differs between run a and run b. Only what differs is listed, as (a, b); None stands for "has none"."""

    params: dict[str, tuple[Any, Any]]
    #: By dotted name: versions.torch, scheduler.config.shift, ...
    environment: dict[str, tuple[Any, Any]]
    #: One per image of the batch.
    images: list[ImageDifference]
    #: None where the paths cannot be laid side by side: no latents, other shapes, another number of steps to take.
    path: PathDifference | None


def difference(a: StoredRun, b: StoredRun) -> Difference:
    """Compare two runs. Where one was stopped, the states that both have are compared.

    Raises `DamagedRun` where one cannot be read, `RunNotFound` where it is gone by now.
    """
    return Difference(
        params=_differing(a.params.to_dict(), b.params.to_dict()),
        environment=environment_difference(a.provenance, b.provenance),
        images=[_image_difference(x, y) for x, y in zip_longest(a.images(), b.images())],
        path=_path_difference(a, b),
    )


def environment_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two provenances: dotted name -> (a, b).

    Left out is what differs between any two runs (times, keys) and what follows from the rest.
    """
    # What is in an identity alone can be compared where both have one.
    both = all(isinstance(each.get("identity"), Mapping) for each in (a, b))
    return _differing(_flat(a, both), _flat(b, both))


def records(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run's provenance says of what it ran on, by dotted name, each thing once."""
    return _flat(provenance, with_identity=True)


def _image_difference(a: np.ndarray | None, b: np.ndarray | None) -> ImageDifference:
    if a is None or b is None or a.shape != b.shape:
        return ImageDifference(math.inf, math.inf, False)
    apart = np.abs(a.astype(np.int16) - b)
    return ImageDifference(float(apart.mean()), float(apart.max()), not apart.any())


def _path_difference(a: StoredRun, b: StoredRun) -> PathDifference | None:
    if a.total_steps != b.total_steps:
        return None
    try:
        x, y = a.latents(), b.latents()
    except CapabilityError:
        return None
    if x.shape[1:] != y.shape[1:]:
        return None
    first, maximum, relative, distances = None, 0.0, 0.0, []
    for k in range(min(len(x), len(y))):
        if x.dtype == y.dtype and x[k].tobytes() == y[k].tobytes():
            distances.append(0.0)
            continue
        first = k if first is None else first
        one, other = (state[k].astype(np.float64).reshape(1, -1) for state in (x, y))
        apart = _finite(geometry.distance(one, other)[0])
        size = (geometry.norm(one)[0] + geometry.norm(other)[0]) / 2
        distances.append(apart)
        maximum = max(maximum, _finite(np.abs(one - other).max()))
        # Two states of zeros, of different signs or types, are not apart.
        relative = max(relative, _finite(apart / size) if apart else 0.0)
    return PathDifference(first is None and len(x) == len(y), first, maximum, relative, distances)


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else math.inf


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*a, *(name for name in b if name not in a)]
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def _flat(provenance: Mapping[str, Any], with_identity: bool) -> dict[str, Any]:
    """Return the leaves of a provenance by dotted name; of its identity, what nothing else in it says."""
    kept = {k: v for k, v in provenance.items() if k not in _NOT_ENVIRONMENT}
    leaves = {name: value for name, value in _leaves(kept) if not name.startswith(_MEASURED)}
    identity = provenance.get("identity")
    if with_identity and isinstance(identity, Mapping):
        leaves |= {f"identity.{name}": value for name, value in _leaves(identity) if name not in leaves}
    return leaves


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in value.items():
        if isinstance(part, Mapping):
            yield from _leaves(part, f"{prefix}{name}.")
        # diffusers lists there, in an order that changes by process, what was not set.
        elif name != "_use_default_values":
            yield f"{prefix}{name}", part
