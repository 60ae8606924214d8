"""Looking in between the layers of a pipeline: to end a call there, and to see what a pass costs.

A call of torch cannot be interrupted, but every module of a denoiser and of a decoder calls its hooks before it
computes. What is raised there ends the pipeline's call within one layer. Hooks see the arguments and change nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from diffatlas.backends.estimate import Work
from diffatlas.capture.calls import denoisers
from diffatlas.capture.watching import method_watched

#: The layers of diffusers that make an attention's queries and keys out of tokens, and further keys out of those of a
#: text.
_QUERIES, _KEYS, _TEXT_KEYS = "to_q", "to_k", "add_k_proj"

#: The work of a pass that is compiled, whose layers cannot be counted: one unit, which grows with the picture's area,
#: and all of it in one layer.
UNCOUNTED = Work(1.0, 0.0, 1.0, 0.0)


class Meter:
    """When the passes and the decodings of a call were, by `time.perf_counter`, and what they had to compute."""

    def __init__(self) -> None:
        self.passes: list[float] = []
        self.decodings: list[tuple[float, float]] = []
        #: What a pass works on: the images, twice where guidance is in the batch. And pictures of a decoding.
        self.rows = self.pictures = 1
        self.ended = 0.0
        self.work: Work | None = None
        self.decoder_work: Work | None = None

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note that a pass begins, with these arguments of the denoiser."""
        if not self.passes:
            batch = [x.shape[0] for x in (*args, *kwargs.values()) if getattr(x, "ndim", 0) >= 3]
            self.rows = int(batch[0]) if batch else 1
        self.passes.append(time.perf_counter())

    @property
    def seconds_of_pass(self) -> float | None:
        """The mean time of a pass, with what is done between two of them but for the decoding of previews."""
        if not self.passes:
            return None
        previews = [end - begun for begun, end in self.decodings if begun < self.passes[-1]]
        last = [begun for begun, _ in self.decodings if begun >= self.passes[-1]]
        whole = (last[-1] if last else self.ended) - self.passes[0]
        return max(0.0, whole - sum(previews)) / len(self.passes)

    def drop_last(self) -> None:
        """Leave the pass out that came last, and all after it: it was not finished."""
        if self.passes:
            self.ended = self.passes.pop()
        self.decodings = [(begun, end) for begun, end in self.decodings if end <= self.ended]

    @property
    def seconds_of_decoding(self) -> float | None:
        """The time of the last decoding, to the end of the call."""
        return self.ended - self.decodings[-1][0] if self.decodings else None


@contextmanager
def between_layers(pipe: Any, look: Callable[[], None], meter: Meter | None = None) -> Iterator[None]:
    """Call ``look()`` before every module of the denoisers and of the VAE's decoder inside the context.

    look: what it raises ends the call of the pipeline.
    meter: is told when the passes and decodings were, and what the first of each had to compute.

    A module that is compiled gets no hooks, which would be compiled with it: it is one layer. On a GPU, where a call
    only launches kernels, modules that are made of no others are passed over: looking would take longer than they do.
    """
    handles: list[Any] = []
    around = ExitStack()
    leaves = getattr(getattr(pipe, "_execution_device", None), "type", "cpu") != "cuda"
    try:
        for denoiser in denoisers(pipe):
            if _compiled_in_place(denoiser):
                around.enter_context(_looking(denoiser, look, meter))
                continue
            _hook(denoiser, look, handles, leaves)
            if meter is not None:
                _meter_passes(denoiser, meter, handles)
        if (decoder := decoder_of(pipe)) is not None:
            _hook(decoder, look, handles, leaves)
            if meter is not None:
                _meter_decodings(decoder, meter, handles)
        yield
    finally:
        if meter is not None:
            meter.ended = time.perf_counter()
        for handle in handles:
            handle.remove()
        around.close()


def is_compiled(pipe: Any) -> bool:
    """Whether anything of a pipeline's denoisers is compiled when it is first called."""
    return any(_compiled(module) for part in denoisers(pipe) for module in _modules(part))


def _modules(part: Any) -> Iterable[Any]:
    return part.modules() if hasattr(part, "modules") else (part,)


def decoder_of(pipe: Any) -> Any:
    """Return the module that makes a picture of clean latents; None where there is none that takes hooks."""
    vaes = (getattr(pipe, name, None) for name in ("vae", "movq", "vqvae"))
    return next((vae.decoder for vae in vaes if _hookable(getattr(vae, "decoder", None))), None)


def _hookable(module: Any) -> bool:
    return hasattr(module, "register_forward_pre_hook")


def _compiled_in_place(module: Any) -> bool:
    return getattr(module, "_compiled_call_impl", None) is not None


def _compiled(module: Any) -> bool:
    """Whether a module is compiled, or is the wrapper of one that is."""
    return hasattr(module, "_orig_mod") or _compiled_in_place(module)


@contextmanager
def _looking(denoiser: Any, look: Callable[[], None], meter: Meter | None) -> Iterator[None]:
    """Look before each call of a denoiser that is compiled as a whole, from outside of what is compiled."""

    def around(
        module: Any, proceed: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if module is not denoiser:
            return proceed(*args, **kwargs)
        look()
        if meter is not None:
            meter.begin(args, kwargs)
        made = proceed(*args, **kwargs)
        if meter is not None and meter.work is None:
            meter.work = UNCOUNTED
        return made

    with method_watched(type(denoiser), "__call__", around):
        yield


def _hook(module: Any, look: Callable[[], None], handles: list[Any], leaves: bool) -> None:
    if not _hookable(module) or _compiled_in_place(module):
        return
    children = list(module.children())
    if leaves or children:
        handles.append(module.register_forward_pre_hook(lambda *_: look()))
    if not _compiled(module):
        for child in children:
            _hook(child, look, handles, leaves)


def _meter_passes(denoiser: Any, meter: Meter, handles: list[Any]) -> None:
    if not _hookable(denoiser):
        return
    tally = _Tally(denoiser)
    whole = not any(_compiled(module) for module in _modules(denoiser))

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        meter.begin(args, kwargs)

    def after(*_: Any) -> None:
        if meter.work is None:
            counted = tally.end(meter.rows)
            meter.work = counted if whole else UNCOUNTED

    handles.append(denoiser.register_forward_pre_hook(before, with_kwargs=True))
    handles.append(denoiser.register_forward_hook(after))
    handles.append(tally)


def _meter_decodings(decoder: Any, meter: Meter, handles: list[Any]) -> None:
    tally = _Tally(decoder)
    begun = 0.0

    def before(module: Any, args: tuple[Any, ...]) -> None:
        nonlocal begun
        begun = time.perf_counter()

    def after(module: Any, args: tuple[Any, ...], out: Any) -> None:
        meter.decodings.append((begun, time.perf_counter()))
        meter.pictures = int(args[0].shape[0]) if args else 1
        if meter.decoder_work is None:
            meter.decoder_work = tally.end(meter.pictures)

    handles.append(decoder.register_forward_pre_hook(before))
    handles.append(decoder.register_forward_hook(after))
    handles.append(tally)


def _outside(module: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the modules inside one, by name, without those that are compiled and what is in them."""
    if not _compiled(module):
        yield name, module
        for child, inner in module.named_children():
            yield from _outside(inner, child)


class _Tally:
    """Counts the multiplications and additions of one call of a module, from what its layers give.

    Linear layers and convolutions are counted, and attention by the tokens of its queries and keys: 4 N M C for N
    queries, M keys and C channels. Of joint attention, to which text brings L tokens of its own, that is 4 (N + L)^2 C,
    of which 4 N^2 C grows with the square.
    """

    def __init__(self, module: Any) -> None:
        import torch

        self._linear: list[float] = []
        self._quadratic: list[float] = []
        self._queries: tuple[int, ...] = ()
        self._handles: list[Any] = []
        if not _compiled(module):
            for name, layer in _outside(module):
                if isinstance(layer, (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)):
                    count = self._counting(name.rpartition(".")[2])
                    self._handles.append(layer.register_forward_hook(count))

    def _counting(self, name: str) -> Callable[..., None]:
        def count(layer: Any, args: tuple[Any, ...], out: Any) -> None:
            # Of each value that comes out: one multiplication and one addition for each that goes into it.
            self._linear.append(2.0 * out.numel() * math.prod(layer.weight.shape[1:]))
            if out.ndim == 3 and name == _QUERIES:
                self._queries = tuple(out.shape)
            elif out.ndim == 3 and self._queries and name in (_KEYS, _TEXT_KEYS):
                rows, queries, width = self._queries
                keys, each = out.shape[1], 4.0 * rows * width
                if name == _TEXT_KEYS:
                    self._linear.append(each * keys * (2 * queries + keys))
                elif keys == queries:
                    self._quadratic.append(each * queries**2)
                else:
                    self._linear.append(each * queries * keys)

        return count

    def end(self, rows: int) -> Work:
        """Return what was counted, of one row of the batch, and count no more."""
        self.remove()
        found = Work(
            sum(self._linear) / rows,
            sum(self._quadratic) / rows,
            max(self._linear, default=0.0) / rows,
            max(self._quadratic, default=0.0) / rows,
        )
        self._linear, self._quadratic, self._queries = [], [], ()
        return found

    def remove(self) -> None:
        """Count no more."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
