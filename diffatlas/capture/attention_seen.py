"""Looking on while the chosen attention layers of a denoiser compute, wherever they do it.

Seen are torch's ``scaled_dot_product_attention``, the backends that diffusers hands attention to, and
``get_attention_scores`` of the layers. The call goes through as it is, and its own output is used. A layer's first call
is looked at with a mode that sees every function of torch, which tells where its text and image are; where the
attention was found by its name then, later calls need no mode. All of it does something only between `Watch.begin` and
`Watch.end` and on the thread of `Watch.begin`, and nothing that fails in here reaches the denoiser: reading stops for
that layer, and the reason is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from diffatlas.capture.attention_dispatch import Backends, TorchAttention, scores_watched
from diffatlas.capture.attention_fused import call_fused
from diffatlas.capture.attention_layers import Layer
from diffatlas.capture.attention_layout import Frame, Known, Sequences, TextOrder
from diffatlas.capture.attention_maps import Part
from diffatlas.capture.attention_ways import Attended, wants_log_sum_exp
from diffatlas.errors import CapabilityError, DiffAtlasError

if TYPE_CHECKING:
    import torch

_ATTEND = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
_SCORES = ("query", "key", "attention_mask")


class Watch:
    """Shows the attention that the layers compute to ``read(frame, attended, part)``, once a call of a layer.

    order: learns whether text or image comes first in joint sequences.
    learn: called with a frame and the shapes of queries and keys; what is to be read of such a call, None where it is
        not one that can be read.
    compiled: whether something of the denoiser is compiled. Then only torch's own attention is looked at: compiled
        code is made for the very backends and methods that there were, and would be compiled anew for others.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        order: TextOrder,
        learn: Callable[[Frame, Sequence[int], Sequence[int]], Known | None],
        read: Callable[[Frame, Attended, Part], None],
        compiled: bool = False,
    ) -> None:
        self._layers, self._order, self._learn, self._read = layers, order, learn, read
        self._compiled = compiled
        self._mode = _mode(self)
        self._backends, self._torch = Backends(self._around_backend), TorchAttention(self._around_torch)
        #: The thread and the sequences of the denoiser call that is read, and the attention layers on the stack.
        self._thread: int | None = None
        self._sequences: Sequences | None = None
        self._frames: list[Frame] = []
        #: What each layer's first call has shown, by the sequences of the denoiser's calls; that of the one that runs.
        self._by_sequences: dict[Sequences, dict[str, Known]] = {}
        self._known: dict[str, Known] = {}
        #: Whether the mode is on for the whole denoiser call, or in the attention layers alone.
        self._learning = False
        self._entered = 0
        #: Layers that ran, those whose attention was seen, and why reading stopped, by their names.
        self.ran: set[str] = set()
        self.seen: set[str] = set()
        self.failed: dict[str, str] = {}

    def forget(self) -> None:
        """Forget what was seen of a pipeline's call that is over."""
        self._by_sequences.clear()
        self.ran.clear()
        self.seen.clear()
        self.failed.clear()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Be there, passively, inside this context."""
        with ExitStack() as stack:
            for layer in self._layers:
                hook = _Hooks(self, layer)
                stack.callback(layer.module.register_forward_pre_hook(hook.before, with_kwargs=True).remove)
                stack.callback(layer.module.register_forward_hook(hook.after, always_call=True).remove)
            if not self._compiled:
                modules = [layer.module for layer in self._layers]
                stack.enter_context(scores_watched(modules, self._around_scores))
                stack.enter_context(self._backends.watching())
            stack.callback(self.end)
            yield

    def begin(self, sequences: Sequences, learning: bool) -> None:
        """Look on at the denoiser call that this thread is about to make.

        learning: look at what is joined to what outside of the layers too.
        """
        if not self._compiled:
            self._backends.look_again()
            self._torch.begin()
        self._known = self._by_sequences.setdefault(sequences, {})
        self._thread, self._sequences, self._learning = threading.get_ident(), sequences, learning
        if learning:
            self._enter()

    def end(self) -> None:
        """The denoiser call is over."""
        while self._entered:
            self._exit()
        self._torch.end()
        self._frames.clear()
        self._thread = self._sequences = None
        self._learning = False

    def _enter(self) -> None:
        self._mode.__enter__()
        self._entered += 1

    def _exit(self) -> None:
        self._mode.__exit__(None, None, None)
        self._entered -= 1

    @property
    def _is_reading(self) -> bool:
        return self._thread is not None and threading.get_ident() == self._thread

    def before_layer(self, layer: Layer, args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Pre-hook of an attention layer."""
        if not self._is_reading or layer.name in self.failed:
            return
        with self._catching(layer):
            frame = Frame.of(layer, args, kwargs)
            known = self._known.get(layer.name)
            if known is not None and known.lengths == (frame.image, frame.text):
                frame.known, frame.done = known, known.part is None
                if frame.done and not self._frames:
                    return
            self._frames.append(frame)
            self.ran.add(layer.name)
            if not (self._learning or (frame.known is not None and frame.known.by_name)):
                self._enter()
                frame.in_mode = True

    def after_layer(self, layer: Layer) -> None:
        """Forward hook of an attention layer, also where it raised."""
        if self._is_reading and self._frames and self._frames[-1].layer is layer:
            frame = self._frames.pop()
            if frame.found is not None:
                self._known[layer.name] = frame.found
            if frame.in_mode and self._entered:
                self._exit()

    @property
    def _frame(self) -> Frame | None:
        """The layer that computes on this thread; None where none is to be read."""
        frame = self._frames[-1] if self._frames and self._is_reading else None
        return None if frame is None or frame.layer.name in self.failed else frame

    @contextmanager
    def _catching(self, layer: Layer | None) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if layer is not None:
                self.failed.setdefault(layer.name, _sentence(layer, error))

    def on_cat(self, args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Tensors are joined on this thread."""
        if self._is_reading:
            frame = self._frame
            with self._catching(None if frame is None else frame.layer):
                self._order.on_cat(self._sequences, frame, args, kwargs)

    def on_attend(self, args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Attention was computed by torch, and the mode has seen it."""
        frame = self._frame
        if frame is None or frame.done or frame.in_torch or frame.backend is not None:
            return
        with self._catching(frame.layer):
            given = dict(zip(_ATTEND, args, strict=False)) | dict(kwargs)
            self._look(frame, _attended(given), by_name=False)

    def on_other(self, args: tuple, output: Any) -> None:
        """Another function was called: what it makes of the text is of the text."""
        frame = self._frame
        if frame is not None and frame.needs_origin:
            with self._catching(frame.layer):
                frame.trace_origin(args, output)

    def _look(self, frame: Frame, attended: Attended, by_name: bool = True) -> None:
        """Read an attention call, where it is one that can be."""
        known = self._known_of(frame, attended.query, attended.key, by_name)
        if known is not None and known.part is not None:
            self._show(frame, attended, known.part)

    def _known_of(self, frame: Frame, query: torch.Tensor, key: torch.Tensor, by_name: bool) -> Known | None:
        """Return what is to be read of an attention call; None where it is not one that can be read."""
        if query.ndim != 4:
            return None
        self.seen.add(frame.layer.name)
        known = self._learn(frame, query.shape, key.shape)
        if known is not None and known is not frame.known and frame.found is None:
            frame.found = replace(known, by_name=by_name)
        return known

    def _show(self, frame: Frame, attended: Attended, part: Part) -> None:
        query, key = attended.query.detach(), attended.key.detach()
        self._read(frame, replace(attended, query=query, key=key), part)
        frame.done = True

    def _around_torch(self, _: str, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        frame = self._frame
        if frame is None or frame.done or frame.in_torch:
            return proceed(*args, **kwargs)
        given: dict[str, Any] = {}
        known, fused = None, None
        with self._catching(frame.layer):
            given = dict(zip(_ATTEND, args, strict=False)) | kwargs
            query, key = given["query"], given["key"]
            if frame.backend in (None, (tuple(query.shape), key.shape[-2])):
                known = self._known_of(frame, query, key, by_name=True)
        if known is None or known.part is None:
            return proceed(*args, **kwargs)
        frame.in_torch = True
        try:
            if wants_log_sum_exp(known.part, query, key):
                output, fused = call_fused(lambda: proceed(*args, **kwargs))
            else:
                output = proceed(*args, **kwargs)
        finally:
            frame.in_torch = False
        with self._catching(frame.layer):
            attended = _attended(given)
            if fused is not None:
                mask = _mask(fused.mask, fused.causal, fused.query, fused.key)
                attended = Attended(fused.query, fused.key, fused.scale, mask, fused.log_sum_exp)
            self._show(frame, attended, known.part)
        return output

    def _around_backend(
        self, backend: str, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        frame = self._frame
        if frame is None or frame.backend is not None:
            return proceed(*args, **kwargs)
        given: dict[str, Any] = {}
        # What the backend computes in itself is not another attention, unless it hands this very one to torch's.
        frame.backend = ((), 0)
        with self._catching(frame.layer):
            given = dict(zip(_ATTEND, args, strict=False)) | kwargs
            rows, places, heads, width = given["query"].shape
            frame.backend = ((rows, heads, places, width), given["key"].shape[1])
        # It may compile itself, without our mode.
        out = self._step_aside()
        try:
            output = proceed(*args, **kwargs)
        finally:
            frame.backend = None
            for _ in range(out):
                self._enter()
        if not frame.done:
            with self._catching(frame.layer):
                self._on_backend(frame, backend, given)
        return output

    def _on_backend(self, frame: Frame, backend: str, given: Mapping[str, Any]) -> None:
        query, key = (given[name].transpose(1, 2) for name in ("query", "key"))
        mask = given.get("attn_mask")
        if mask is not None and not hasattr(mask, "ndim"):
            raise CapabilityError(
                f"The attention backend {backend!r} is given a mask of its own kind ({type(mask).__name__}), which"
                " cannot be read: use the backend 'native', or set attention='off'."
            )
        if mask is not None and mask.ndim == 2 and mask.shape == (query.shape[0], key.shape[2]):
            mask = mask[:, None, None]
        mask = _mask(mask, given.get("is_causal"), query, key)
        self._look(frame, Attended(query, key, given.get("scale"), mask))

    def _step_aside(self) -> int:
        """Take the mode off as often as it is on, and return how often; not where another lies on top of it."""
        from torch.overrides import _get_current_function_mode

        count = 0
        while self._entered and _get_current_function_mode() is self._mode:
            self._exit()
            count += 1
        return count

    def _around_scores(self, module: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        frame = self._frame
        if frame is not None and frame.layer.module is module and not frame.done:
            with self._catching(frame.layer):
                self._on_scores(frame, args, kwargs)
        return proceed(*args, **kwargs)

    def _on_scores(self, frame: Frame, args: tuple, kwargs: Mapping[str, Any]) -> None:
        import torch

        given = dict(zip(_SCORES, args, strict=False)) | dict(kwargs)
        frame.slices.append([given.get(name) for name in _SCORES])
        module, rows = frame.layer.module, self._sequences.rows
        self.seen.add(frame.layer.name)
        # Sliced attention computes some samples and heads after the other.
        if sum(len(some[0]) for some in frame.slices) < rows * module.heads:
            return
        query, key, mask = (
            None if some[0] is None else some[0] if len(some) == 1 else torch.cat(some)
            for some in zip(*frame.slices, strict=True)
        )
        frame.slices = []
        if query.ndim != 3 or len(query) % rows:
            return
        query, key = (t.reshape(rows, -1, *t.shape[1:]) for t in (query, key))
        if mask is not None:
            mask = mask.reshape(rows, -1, *mask.shape[1:]) if len(mask) > 1 else mask[None]
        self._look(frame, Attended(query, key, float(module.scale), mask))


@dataclass(frozen=True)
class _Hooks:
    """The hooks of one attention layer."""

    watch: Watch
    layer: Layer

    def before(self, module: Any, args: tuple, kwargs: Mapping[str, Any]) -> None:
        self.watch.before_layer(self.layer, args, kwargs)

    def after(self, *_: Any) -> None:
        self.watch.after_layer(self.layer)


def _attended(given: Mapping[str, Any]) -> Attended:
    """Return what torch's attention was given."""
    query, key = given["query"], given["key"]
    mask = _mask(given.get("attn_mask"), given.get("is_causal"), query, key)
    return Attended(query, key, given.get("scale"), mask)


def _mask(given: Any, causal: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
    """Return the mask of queries (rows, heads, S, D) with four axes; None where there is none."""
    import torch

    mask = given
    if causal:
        mask = query.new_ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
    while mask is not None and mask.ndim < 4:
        mask = mask[None]
    return mask


def _mode(watch: Watch) -> Any:
    """Return what shows the functions of torch that are called on this thread to ``watch``, while it is entered."""
    import torch
    from torch.overrides import TorchFunctionMode

    # The second is what is called inside, where somebody has put a function of their own in the first's place.
    attend = (torch.nn.functional.scaled_dot_product_attention, torch._C._nn.scaled_dot_product_attention)
    joins = (torch.cat, torch.concat, torch.concatenate)

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            output = func(*args, **kwargs)
            if func in attend:
                watch.on_attend(args, kwargs)
            elif func in joins:
                watch.on_cat(args, kwargs)
            else:
                watch.on_other(args, output)
            return output

    return Mode()


def _sentence(layer: Layer, error: Exception) -> str:
    if isinstance(error, DiffAtlasError):
        return error.message
    lines = str(error).strip().splitlines()
    return (
        f"Reading the attention of {layer.name} failed ({type(error).__name__}:"
        f" {(lines[0] if lines else 'no message')[:200]})."
    )
