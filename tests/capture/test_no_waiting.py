"""Between its steps a pipeline that is observed waits for its device no more often than one that is not.

What waits on a GPU is counted on the CPU, in calls of different length: reading a number or an array out of a tensor,
comparing tensors, looking where one is not zero. `arrays.send` does not wait, and what is made of the arrays that were
sent touches no tensor of the device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from diffatlas.capture import Capture, arrays, observe
from diffatlas.capture.step_made import StepMaker
from diffatlas.steering.guided import own_scale, steer_guidance
from diffatlas.steering.methods import GuidancePlan
from tests.capture.test_scheduler_tricks import fresh
from tests.pipelines import arguments

#: What PyTorch computes by looking at the numbers.
_LOOKING = {
    "_local_scalar_dense",
    "equal",
    "nonzero",
    "masked_select",
    "_unique2",
    "is_nonzero",
    "linalg_svd",
}
#: What is asked of a tensor that brings its numbers to the CPU.
_BRINGING = {"numpy", "__array__", "cpu", "tolist", "item", "__bool__", "__float__", "__int__", "__index__"}


class Looked(TorchDispatchMode):
    def __init__(self, count: Counter[str]) -> None:
        super().__init__()
        self._count = count

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition("::")[2].partition(".")[0]
        by_mask = name == "index" and any(getattr(i, "dtype", None) == torch.bool for i in args[1])
        self._count[name] += name in _LOOKING or by_mask
        return func(*args, **(kwargs or {}))


class Brought(TorchFunctionMode):
    def __init__(self, count: Counter[str]) -> None:
        super().__init__()
        self._count = count

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        to_cpu = name == "to" and any(
            type(part) is str and part == "cpu" for part in (*args[1:], *(kwargs or {}).values())
        )
        self._count[name] += name in _BRINGING or to_cpu
        return func(*args, **(kwargs or {}))


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count what would wait for a GPU, but for `arrays.send` and what is made of the arrays that it brings."""
    count: Counter[str] = Counter()
    send, make = arrays.send, StepMaker.make

    def send_unseen(tensor: torch.Tensor) -> arrays.Sent:
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return send(tensor)

    def make_unseen(maker: StepMaker, seen: Any) -> Any:
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return make(maker, seen)

    with pytest.MonkeyPatch.context() as patch, Brought(count), Looked(count):
        patch.setattr(arrays, "send", send_unseen)
        patch.setattr(StepMaker, "make", make_unseen)
        yield count


def each_step(
    pipe: Any, plans: Sequence[GuidancePlan] = (), observed: bool = True, **call: Any
) -> Counter[str]:
    """Return what four more steps add to the counts of a call."""
    counts = []
    for steps in (2, 3, 7):  # The first call of a pipeline may look at more.
        with counting() as count, ExitStack() as stack:
            trace = None
            if observed:
                trace = stack.enter_context(
                    observe(pipe, Capture(previews="every", preview_decoder="linear"))
                )
            if plans:
                stack.enter_context(steer_guidance(pipe, plans, own_scale(plans), trace))
            pipe(**arguments(pipe, steps=steps, **call))
        counts.append(count)
    return Counter({name: n - counts[1][name] for name, n in counts[2].items() if n != counts[1][name]})


@pytest.mark.parametrize(
    ("name", "guided"),
    [(name, True) for name in ("shapes", "sdxl", "sd3", "flux", "flux_cfg", "qwen", "flux2")]
    + [(name, False) for name in ("shapes", "sdxl", "flux")],
)
def test_observing_waits_for_nothing_at_a_step(
    name: str, guided: bool, request: pytest.FixtureRequest
) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    plain = each_step(pipe, guided=guided, observed=False)
    assert each_step(pipe, guided=guided) == plain


def test_waiting_is_seen(sd_pipe: Any) -> None:
    """Were the counting blind, the test above would hold for anything."""

    def look(pipe: Any, i: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        latents = values["latents"]
        assert float(latents.sum()) == latents.sum().item()
        assert torch.equal(latents, latents)
        assert latents.isfinite().any()
        assert latents.cpu().numpy().any()
        assert len(latents[latents > 0]) < len(latents.flatten().tolist())
        return values

    with counting() as count:
        sd_pipe(**arguments(sd_pipe, steps=2), callback_on_step_end=look)
    for name in ("__float__", "item", "equal", "__bool__", "cpu", "numpy", "index", "tolist"):
        assert count[name] >= 2, name


def test_guiding_each_sample_waits_for_nothing_at_a_step(sd_pipe: Any) -> None:
    pipe = fresh(sd_pipe, EulerDiscreteScheduler)
    methods = ("apg", "rescale", "cfg_zero_star", "interval", None)
    plans = [GuidancePlan(3.0), *(GuidancePlan(6.0, method) for method in methods), GuidancePlan(1.0)]
    call = {"prompts": ("a red circle",) * len(plans)}
    plain = each_step(pipe, observed=False, **call)
    assert each_step(pipe, plans, **call) == plain
