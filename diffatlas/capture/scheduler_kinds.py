"""What kind of scheduler an instance is, as far as its noise levels and its x0 depend on it.

Read from the classes and from what their constructors take. A scheduler's config alone does not tell: made by
``from_config`` of another class it also keeps options of that class, which its own steps never look at.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from diffatlas.capture.tables import numbers

#: Schedulers that unmask, choose or denoise tokens.
TOKENS = (
    "AmusedScheduler",
    "BlockRefinementScheduler",
    "DiscreteDDIMScheduler",
    "EntropyBoundScheduler",
    "VQDiffusionScheduler",
)
#: Their models predict x0 - noise, against noise - x0 of the others.
TO_DATA = ("MiniMaxH3Scheduler", "RFD4ProteinaScheduler")
#: Their lists of timesteps end with one at which nothing is left to do.
WITH_END_IN_LIST = ("SCMScheduler", "DDPMWuerstchenScheduler")
FLOW = (
    "FlowMapEulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "LTXEulerAncestralRFScheduler",
    "PiflowScheduler",
    *TO_DATA,
)


def is_a(scheduler: Any, *names: str) -> bool:
    """Whether the scheduler's class, or one that it derives from, has one of these names."""
    return not _names(type(scheduler)).isdisjoint(names)


def option(scheduler: Any, name: str, default: Any = None) -> Any:
    """Return an option of the scheduler's config that its class has; else, or where it is None, ``default``."""
    if name not in _options(type(scheduler)):
        return default
    value = getattr(scheduler, "config", {}).get(name)
    return default if value is None else value


@cache
def _names(kind: type) -> frozenset[str]:
    return frozenset(c.__name__ for c in kind.__mro__)


@cache
def _options(kind: type) -> frozenset[str]:
    names: set[str] = set()
    for c in kind.__mro__:
        if "__init__" in vars(c) and c is not object:
            names.update(inspect.signature(vars(c)["__init__"]).parameters)
    return frozenset(names)


def is_trigflow(scheduler: Any) -> bool:
    """Whether the scheduler's timesteps are angles, x = cos(t) * x0 + sin(t) * noise, all times sigma_data."""
    return option(scheduler, "prediction_type") == "trigflow"


def is_flow(scheduler: Any) -> bool:
    """Whether the scheduler's states are x = (1 - sigma) * x0 + sigma * noise."""
    if hasattr(scheduler, "_sigma_to_alpha_sigma_t"):  # DPM-Solver and its kin decide by this alone
        return bool(option(scheduler, "use_flow_sigmas", False))
    if is_a(scheduler, *FLOW, "HeliosDMDScheduler"):
        return True
    prediction = option(scheduler, "prediction_type")
    if prediction is not None or is_a(scheduler, "CMStochasticIterativeScheduler"):
        return prediction == "flow_prediction"
    # Flow-match schedulers know one prediction only, so they have no option for it; their sigmas are fractions.
    sigmas = getattr(scheduler, "sigmas", None)
    return sigmas is not None and len(sigmas) > 0 and float(numbers(sigmas).max()) <= 1.0 + 1e-6


def is_mirrored(scheduler: Any) -> bool:
    """Whether a flow scheduler counts its sigmas from noise (0) to data (1), as that of Mochi does."""
    inverted = is_a(scheduler, "FlowMatchEulerDiscreteScheduler") and option(
        scheduler, "invert_sigmas", False
    )
    # Its stochastic step takes the same sigmas for the share of noise: there the states get noisier.
    return bool(inverted) and not option(scheduler, "stochastic_sampling", False)
