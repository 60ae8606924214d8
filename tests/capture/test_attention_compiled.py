"""A compiled denoiser runs as it is: nothing is hooked into it, and the reason says how to undo it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.capture import Capture, observe
from tests import pipelines

ALL = Capture(attention="all")


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def hooks(module: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def watched(pipe: Any) -> Any:
    """Return the trace; the image is that of a plain call, no graph was made anew, and no hook was in it."""
    counters = torch._dynamo.utils.counters
    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    call = {"steps": 2, "width": 96, "height": 64}
    plain = pipe(**pipelines.arguments(pipe, **call)).images
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    with observe(pipe, ALL) as trace:
        inside = hooks(denoiser)
        seen = pipe(**pipelines.arguments(pipe, **call)).images
    np.testing.assert_array_equal(plain, seen)
    assert counters["stats"]["unique_graphs"] == graphs
    assert len(trace.steps) == 2
    return trace, inside


@pytest.mark.parametrize("name", ["sd", "flux"])
@pytest.mark.parametrize("way", ["torch.compile", "module.compile"])
def test_a_compiled_denoiser_is_left_alone(name: str, way: str, request: pytest.FixtureRequest) -> None:
    pipe = copy.deepcopy(request.getfixturevalue(f"{name}_pipe"))
    part = "unet" if name == "sd" else "transformer"
    if way == "torch.compile":
        setattr(pipe, part, torch.compile(getattr(pipe, part), backend="eager"))
    else:
        getattr(pipe, part).compile(backend="eager")
    trace, inside = watched(pipe)
    assert inside == 0
    assert [step.attention for step in trace.steps] == [None, None]
    assert "compiled" in trace.missing["attention"]
    # What the reason says undoes it.
    if way == "torch.compile":
        assert f"pipe.{part} = pipe.{part}._orig_mod" in trace.missing["attention"]
        setattr(pipe, part, getattr(pipe, part)._orig_mod)
    else:
        assert f"for module in pipe.{part}.modules(): module._compiled" in trace.missing["attention"]
        for module in getattr(pipe, part).modules():
            module._compiled_call_impl = None
    with observe(pipe, ALL) as trace:
        pipe(**pipelines.arguments(pipe, steps=1))
    assert trace.steps[0].attention


def test_blocks_that_are_compiled_are_left_alone_and_the_others_read(flux_pipe: Any) -> None:
    pipe = copy.deepcopy(flux_pipe)
    for block in pipe.transformer.single_transformer_blocks:
        block.compile(backend="eager")
    trace, _ = watched(pipe)
    names = {key.partition(":")[2] for key in trace.steps[0].attention}
    assert names == {"transformer_blocks.0.attn"}
    for block in pipe.transformer.transformer_blocks:
        block.compile(backend="eager")
    trace, inside = watched(pipe)
    assert inside == 0
    assert "compiled" in trace.missing["attention"]
