import threading
import time

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from diffatlas.backends import paces
from diffatlas.backends.between import Meter, between_layers, is_compiled
from diffatlas.backends.live_bytes import Live
from diffatlas.capture.spec import Capture
from diffatlas.events import Finished
from tests import pipelines


def call(pipe, side=64, steps=2, **more):
    noise = torch.Generator().manual_seed(3)
    asked = {"width": side, "height": side, "num_inference_steps": steps, "output_type": "np", **more}
    return pipe("a red circle", generator=noise, **asked).images


def test_looking_on_changes_no_bit_and_leaves_nothing_behind():
    for build in (pipelines.build_sd, pipelines.build_sd3, pipelines.build_flux):
        pipe = build()
        plain = call(pipe)
        with between_layers(pipe, lambda: None, Meter()):
            seen = call(pipe)
        assert np.array_equal(plain, seen)
        for part in (getattr(pipe, "unet", None) or pipe.transformer, pipe.vae):
            for module in part.modules():
                assert not module._forward_pre_hooks
                assert not module._forward_hooks


def test_on_a_gpu_what_is_made_of_no_other_module_is_passed_over(monkeypatch):
    pipe = pipelines.build_sd()
    monkeypatch.setattr(type(pipe), "_execution_device", torch.device("cuda"))
    with between_layers(pipe, lambda: None):
        hooked = {name for name, module in pipe.unet.named_modules() if module._forward_pre_hooks}
    inner = {name for name, module in pipe.unet.named_modules() if any(module.children())}
    assert hooked == inner
    # Within each block a stop still takes effect.
    assert any("resnets" in name for name in hooked)


def test_work_is_what_torch_counts():
    for build in (pipelines.build_sd, pipelines.build_sd3):
        pipe = build()
        denoiser = getattr(pipe, "unet", None) or pipe.transformer
        meter, counted = Meter(), FlopCounterMode(display=False)
        # Attention by plain products of matrices, which torch counts on every device.
        with sdpa_kernel(SDPBackend.MATH), between_layers(pipe, lambda: None, meter), counted:
            call(pipe, steps=1, output_type="latent")
        assert meter.rows == 2
        assert len(meter.passes) == 1
        total = sum(counted.get_flop_counts()[type(denoiser).__name__].values())
        assert 0.95 < meter.rows * meter.work.at(1.0) / total < 1.05


@pytest.mark.parametrize("way", ["blocks", "in place", "wrapped"])
def test_what_is_compiled_gets_no_hook(way):
    """A hook would be compiled with it, and called for ever after in the place of those of later runs."""
    pipe = pipelines.build_sd()
    plain = call(pipe)
    if way == "blocks":
        pipe.unet.compile_repeated_blocks(backend="eager")
    elif way == "in place":
        pipe.unet.compile(backend="eager")
    else:
        pipe.unet = torch.compile(pipe.unet, backend="eager")
    assert is_compiled(pipe)
    looks, passes = [], []
    for _ in range(2):
        meter, looked = Meter(), []
        with between_layers(pipe, lambda looked=looked: looked.append(1), meter):
            assert np.array_equal(call(pipe), plain)
            blocks = [m for m in pipe.unet.modules() if getattr(m, "_compiled_call_impl", None) is not None]
            assert not any(
                m._forward_pre_hooks or m._forward_hooks for block in blocks for m in block.modules()
            )
        looks.append(len(looked))
        passes.append(len(meter.passes))
    assert passes == [2, 2]
    assert looks[0] == looks[1] > 2
    # Its layers cannot be counted: all of it is one.
    assert meter.work.largest_at(1.0) == meter.work.at(1.0) > 0


def test_a_stop_inside_a_step_takes_effect_at_the_next_layer(backend, asked, monkeypatch):
    """The first layer of the second pass stops the run: no other layer is entered after it."""
    monkeypatch.setattr(paces, "GRACE", 0.0)
    unet = backend.pipeline(asked.model).unet
    stop, entered = threading.Event(), []

    def passed(*_):
        entered.append("pass")
        if entered.count("pass") == 2:
            stop.set()

    handles = [unet.conv_in.register_forward_hook(passed)]
    handles += [m.register_forward_hook(lambda *_: entered.append("layer")) for m in unet.down_blocks]
    try:
        last = list(backend.trace(asked, Capture(attention="all"), stop))[-1]
    finally:
        for handle in handles:
            handle.remove()
    assert isinstance(last, Finished)
    assert last.status == "stopped"
    assert entered[-1] == "pass"
    assert all(not m._forward_pre_hooks for m in unet.modules())


def test_closing_ends_the_call_inside_a_step(backend, asked):
    """A page that is gone closes its generator while the denoiser is in a long pass."""
    unet = backend.pipeline(asked.model).unet
    layers = [m for m in unet.modules() if not list(m.children())]
    entered = []

    def dawdle(*_):
        entered.append(time.monotonic())
        # From the second pass on, which is far too long to wait for.
        time.sleep(0.1 if len(entered) > len(layers) else 0)

    handles = [layer.register_forward_hook(dawdle) for layer in layers]
    try:
        events = backend.trace(asked)
        next(events)
        while len(entered) < len(layers) + 3:
            time.sleep(0.01)
        began = time.monotonic()
        events.close()
        late = [at for at in entered if at > began]
    finally:
        for handle in handles:
            handle.remove()
    assert len(layers) > 50
    assert len(late) <= 2 + paces.GRACE / 0.1


def test_live_bytes_are_those_of_the_tensors_that_are_alive():
    class Pipe:
        vae = None

    held = Live(Pipe())
    with held.counting():
        a = torch.ones(1000)
        b = a * 2
        del a
        c = b.view(10, 100) + 1
        del b, c
    # Two of the three at once; a view is no memory of its own.
    assert held.passing == 2 * 4000
    assert held.decoding == 0
