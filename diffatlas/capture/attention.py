"""Attention read where it happens: at the call of scaled_dot_product_attention inside a chosen layer.

The call goes through as it is, and its own output is used. On the side, the queries and keys that it was given, after
norms and rotary embedding, give the probabilities (`diffatlas.capture.attention_maps`). Only calls of the observed
denoiser on the observing thread are looked at, and none of those that guidance methods add.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.capture import attention_layout as layout
from diffatlas.capture.attention_layers import Layer, attention_layers, chosen_layers
from diffatlas.capture.attention_layout import Frame, Sequences
from diffatlas.capture.attention_maps import Part, maps_of
from diffatlas.capture.spec import Capture
from diffatlas.errors import CapabilityError

if TYPE_CHECKING:
    import torch

_ATTEND = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


@dataclass(frozen=True)
class _Attended:
    """What one attention call was given, for all samples."""

    layer: Layer
    query: torch.Tensor
    key: torch.Tensor
    part: Part
    scale: float | None
    mask: torch.Tensor | None


@dataclass
class _Call:
    """What was read in one denoiser call.

    maps: "<kind>:<layer>" -> sample -> map.
    held: what is read once it is known which half is the conditional one.
    """

    sequences: Sequences
    maps: dict[str, dict[int, torch.Tensor]] = field(default_factory=dict)
    held: list[_Attended] = field(default_factory=list)


class AttentionRecorder:
    """Reads the attention of a run's denoiser calls; `take` gives that of a step.

    capture: with `Capture.attention` other than "off".
    denoisers: of the pipeline (`diffatlas.capture.calls.denoisers`).

    Raises `CapabilityError` where no layer is one of those asked for.
    """

    def __init__(self, capture: Capture, denoisers: Sequence[Any]) -> None:
        self._capture = capture
        self._denoisers = denoisers
        every = attention_layers(denoisers)
        self._layers = chosen_layers(every, capture.attention_layers, capture.attention_max_layers)
        if not every:
            raise CapabilityError(
                "No attention layers were found in this model: set attention='off'; everything else is captured.",
                field="attention",
            )
        if not self._layers:
            raise CapabilityError(
                f"No attention layer is called {' or '.join(capture.attention_layers or ())}. This model has such as"
                f" {every[0].name} and {every[-1].name}.",
                field="attention_layers",
            )
        self._thread = threading.get_ident()
        self._calls: list[_Call] = []
        #: The denoiser call that is running and is read, and the attention layers that are on the stack.
        self._call: _Call | None = None
        self._frames: list[Frame] = []
        #: Whether the text comes first in the joint sequence of blocks of one stream; None as long as none is seen.
        self._text_first: bool | None = None
        #: Places of the image there, where the denoiser does not tell how long the text is.
        self._image: int | None = None
        self._attended = False
        self._described: dict[str, dict[str, Any]] = {}
        self._batch: int | None = None
        self._first_is_cond: bool | None = None
        self._mode = _mode(self)
        #: Whether the mode is on for the whole denoiser call, or in the attention layers alone.
        self._learning = False
        self._entered = 0

    @contextmanager
    def watching(self, where: Any) -> Iterator[None]:
        """Read attention inside this context.

        where: returns (index of the coming step, number of steps or None, whether it is the first of a run).
        """
        self._where = where
        with ExitStack() as stack:
            for denoiser in self._denoisers:
                before = denoiser.register_forward_pre_hook(self._before_denoiser, with_kwargs=True)
                stack.callback(before.remove)
                stack.callback(denoiser.register_forward_hook(self._after_denoiser, always_call=True).remove)
            for layer in self._layers:
                hook = _Hooks(self, layer)
                stack.callback(layer.module.register_forward_pre_hook(hook.before, with_kwargs=True).remove)
                stack.callback(layer.module.register_forward_hook(hook.after, always_call=True).remove)
            stack.callback(self._leave)
            yield

    def describe(self) -> dict[str, Any]:
        """Return what was read of the first step, as ``provenance["attention"]``.

        ``layers``: name, kind, heads, grid (rows, columns of the places), tokens (of cross-attention), block, joint
        (whether text and image share one sequence, so that cross and self add up to 1 together) and cells (rows,
        columns of pooled self-attention).

        Raises `CapabilityError` where nothing could be read.
        """
        self._check_thread()
        if self._image is not None:
            # Of what came before they were joined, a text may have had the length of a coarser grid.
            found = self._described.items()
            self._described = {k: d for k, d in found if d["grid"][0] * d["grid"][1] == self._image}
        if not self._described:
            asked = " and ".join(self._capture.attention_kinds)
            raise CapabilityError(
                f"The layers asked for have no {asked}-attention between places of the image and one sequence of text."
                if self._attended
                else "This model's attention is not computed by PyTorch's scaled_dot_product_attention, so it cannot be"
                " read: switch off attention slicing and other attention backends, or set attention='off'.",
                field="attention",
            )
        place = {layer.name: i for i, layer in enumerate(self._layers)}
        return {"layers": sorted(self._described.values(), key=lambda d: (place[d["name"]], d["kind"]))}

    def take(self, batch: int, first_is_cond: bool | None) -> dict[str, np.ndarray] | None:
        """Return the maps since the last call of this, by "<kind>:<layer>"; None where there are none.

        batch: images.
        first_is_cond: whether the first of two halves is the conditional one; None where it is not known (then that
            of most pipelines is taken, and both are read again at the next step).
        """
        self._check_thread()
        calls, self._calls = self._calls, []
        self._batch, self._first_is_cond = batch, first_is_cond
        halves = [
            (call, range(start, start + batch))
            for call in calls
            for start in range(0, call.sequences.rows, batch)
        ][:2]
        if len(halves) > 1 and not (len(calls) > 1 if first_is_cond is None else first_is_cond):
            halves.reverse()
        if self._capture.attention_halves == "cond":
            halves = halves[:1]
        for call, rows in halves:
            for attended in call.held:
                self._read(call, attended, rows)
        keys = [key for key in self._described if all(_has(*half, key) for half in halves)] if halves else []
        taken = {}
        for key in keys:
            parts = [_stacked(call.maps[key], rows) for call, rows in halves]
            taken[key] = parts[0] if self._capture.attention_halves == "cond" else _as_long(parts)
        return taken or None

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise CapabilityError(
                "Attention is read on the thread that entered observe: call the pipeline on that thread.",
                field="attention",
            )

    def _before_denoiser(self, module: Any, args: tuple, kwargs: Mapping[str, Any]) -> None:
        if threading.get_ident() != self._thread:
            return
        index, total, is_first = self._where()
        if is_first and not self._calls:
            self._batch = self._first_is_cond = self._text_first = self._image = None
            self._described.clear()
            self._attended = False
        sequences = Sequences.of(module, args, kwargs)
        if sequences is None or not self._capture.wants_attention(index, total or index + 2):
            return
        self._call = _Call(sequences)
        self._calls.append(self._call)
        self._learning = is_first and not hasattr(module, "mid_block")
        if self._learning:
            self._enter()

    def _after_denoiser(self, *_: Any) -> None:
        if threading.get_ident() == self._thread:
            self._leave()

    def _leave(self) -> None:
        while self._entered:
            self._exit()
        self._frames.clear()
        self._call, self._learning = None, False

    def _enter(self) -> None:
        self._mode.__enter__()
        self._entered += 1

    def _exit(self) -> None:
        self._mode.__exit__(None, None, None)
        self._entered -= 1

    def before_layer(self, layer: Layer, args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Pre-hook of an attention layer."""
        if self._call is None or threading.get_ident() != self._thread:
            return
        self._frames.append(Frame.of(layer, args, kwargs))
        if not self._learning:
            self._enter()

    def after_layer(self, layer: Layer) -> None:
        """Forward hook of an attention layer, also where it raised."""
        if threading.get_ident() == self._thread and self._frames and self._frames[-1].layer is layer:
            self._frames.pop()
            if not self._learning:
                self._exit()

    def on_linear(self, args: tuple, output: Any) -> None:
        """A linear map was applied: what it makes of the text is of the text."""
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.needs_origin and args and args[0] is frame.text_input:
            frame.from_text.append(output)

    def on_cat(self, args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Tensors were joined: see whether they are the text and the image, and which is first."""
        frame = self._frames[-1] if self._frames else None
        tensors = layout.joined(args, kwargs, one=frame is None and self._call.sequences.text is None)
        if tensors is None:
            return
        lengths = layout.joined_lengths(args, kwargs)
        if frame is not None:
            if frame.text is None or frame.image is None:
                return
            found = layout.text_first(lengths, frame.text, frame.image)
            if found is None and frame.needs_origin and lengths == (frame.text, frame.image):
                origin = {t.untyped_storage().data_ptr() for t in frame.from_text}
                is_text = [t.untyped_storage().data_ptr() in origin for t in tensors]
                found = is_text[0] if is_text[0] != is_text[1] else None
            if found is not None:
                frame.text_first = self._text_first = found
            return
        sequences = self._call.sequences
        if sequences.text is None:
            self._image, self._text_first = sequences.split(lengths) or (self._image, self._text_first)
        elif sequences.text in lengths:
            image = sum(lengths) - sequences.text
            if sequences.grid(image) is not None:
                found = layout.text_first(lengths, sequences.text, image)
                self._text_first = self._text_first if found is None else found

    def on_attend(self, args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Attention was computed: read it, where it is the first of a chosen layer that can be."""
        import torch

        frame = self._frames[-1] if self._frames else None
        if frame is None or frame.done:
            return
        self._attended = True
        given = dict(zip(_ATTEND, args, strict=False)) | dict(kwargs)
        query, key = given["query"], given["key"]
        if query.ndim != 4 or query.shape[0] != self._call.sequences.rows:
            return
        part = self._part(frame, query.shape[-2], key.shape[-2])
        if part is None:
            return
        frame.done = True
        mask = given.get("attn_mask")
        if given.get("is_causal"):
            mask = query.new_ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
        while mask is not None and mask.ndim < 4:
            mask = mask[None]
        attended = _Attended(frame.layer, query.detach(), key.detach(), part, given.get("scale"), mask)
        rows = self._rows(query.shape[0])
        if rows is None:
            self._call.held.append(attended)
        else:
            self._read(self._call, attended, rows)
        self._describe(frame, part, query.shape[1], key.shape[-2])

    def _read(self, call: _Call, attended: _Attended, rows: Iterable[int]) -> None:
        """Keep the maps of these samples of a call."""
        import torch

        query, key = attended.query, attended.key
        with torch.no_grad(), torch.autocast(query.device.type, enabled=False):
            for row in rows:
                mask = attended.mask
                mask = None if mask is None else mask[row if len(mask) > 1 else 0]
                for kind, maps in zip(
                    ("cross", "self"), self._maps(attended, query[row], key[row], mask), strict=True
                ):
                    if maps is not None:
                        call.maps.setdefault(f"{kind}:{attended.layer.name}", {})[row] = maps

    def _maps(
        self, attended: _Attended, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return (cross, self) of one sample."""
        import torch

        if self._capture.attention_heads == "mean":
            return maps_of(query, key, attended.part, attended.scale, mask)
        per_key = len(query) // len(key)
        heads = []
        for h in range(len(query)):
            own = mask if mask is None or len(mask) == 1 else mask[h : h + 1]
            shared = key[h // per_key : h // per_key + 1]
            heads.append(maps_of(query[h : h + 1], shared, attended.part, attended.scale, own))
        cross, own = zip(*heads, strict=True)
        return (
            None if cross[0] is None else torch.stack(cross),
            None if own[0] is None else torch.stack(own),
        )

    def _rows(self, total: int) -> list[int] | None:
        """Return the samples of a call to read: those of the halves that are kept; None where they are not known."""
        batch = self._batch
        if self._capture.attention_halves == "both":
            return list(range(total))
        if batch is None or self._first_is_cond is None:
            return None
        before = sum(call.sequences.rows // batch for call in self._calls[:-1])
        count = total // batch
        if self._first_is_cond:
            wanted = {0}
        else:
            # A call for one half alone may be the only one of its step, where guidance has ended.
            wanted = {1, 0} if count == 1 else {1}
        return [r for r in range(total) if before + r // batch in wanted]

    def _part(self, frame: Frame, queries: int, keys: int) -> Part | None:
        """Return where the image and the text are, where it is known and something of it is asked for."""
        kinds, call = self._capture.attention_kinds, self._call.sequences
        places, text, image = queries, None, None
        rows = slice(0, queries)
        if frame.text is not None and queries == frame.image and keys == frame.text:
            text = slice(0, keys)
        elif frame.text is not None and frame.image is not None and keys == frame.text + frame.image:
            first = frame.text_first if frame.text_first is not None else self._text_first
            if first is None or queries not in (keys, frame.image):
                return None
            places = frame.image
            text, image = layout.joint_slices(frame.text, frame.image, first)
            rows = image if queries == keys else rows
        elif frame.text is None and queries == keys:
            image = slice(0, keys)
            places = self._image or queries - (call.text or 0)
            if self._text_first is not None and call.grid(queries) is None and places < queries:
                # A block of one stream: its text and image were joined before it.
                text, image = layout.joint_slices(queries - places, places, self._text_first)
                rows = image
            else:
                places = queries
        else:
            return None
        grid = call.grid(places)
        text = text if "cross" in kinds else None
        image = image if "self" in kinds else None
        if grid is None or (text is None and image is None):
            return None
        return Part(rows, grid, text, image, -(-max(grid) // self._capture.attention_resolution))

    def _describe(self, frame: Frame, part: Part, heads: int, keys: int) -> None:
        layer = frame.layer
        entry = {
            "name": layer.name,
            "heads": int(heads),
            "grid": list(part.grid),
            "block": layer.block,
            "joint": keys != frame.text and keys > part.grid[0] * part.grid[1],
        }
        if part.text is not None:
            described = entry | {"kind": "cross", "tokens": part.text.stop - part.text.start}
            self._described.setdefault(f"cross:{layer.name}", described)
        if part.image is not None:
            described = entry | {"kind": "self", "tokens": None, "cells": list(part.cells)}
            self._described.setdefault(f"self:{layer.name}", described)


@dataclass(frozen=True)
class _Hooks:
    """The hooks of one attention layer."""

    recorder: AttentionRecorder
    layer: Layer

    def before(self, module: Any, args: tuple, kwargs: Mapping[str, Any]) -> None:
        self.recorder.before_layer(self.layer, args, kwargs)

    def after(self, *_: Any) -> None:
        self.recorder.after_layer(self.layer)


def _mode(recorder: AttentionRecorder) -> Any:
    """Return what shows the functions of torch that are called on this thread to ``recorder``, while it is entered."""
    import torch
    from torch.overrides import TorchFunctionMode

    attend, linear = torch.nn.functional.scaled_dot_product_attention, torch.nn.functional.linear
    joins = (torch.cat, torch.concat, torch.concatenate)

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            output = func(*args, **kwargs)
            if func is attend:
                recorder.on_attend(args, kwargs)
            elif func is linear:
                recorder.on_linear(args, output)
            elif func in joins:
                recorder.on_cat(args, kwargs)
            return output

    return Watch()


def _has(call: _Call, rows: range, key: str) -> bool:
    return all(row in call.maps.get(key, ()) for row in rows)


def _stacked(maps: Mapping[int, torch.Tensor], rows: range) -> np.ndarray:
    """Return the maps of these samples, (B, ...)."""
    return np.stack([maps[row].cpu().numpy() for row in rows])


def _as_long(halves: Sequence[np.ndarray]) -> np.ndarray:
    """Stack two halves; the tokens that only a longer one has get no attention in the other."""
    shape = np.max([half.shape for half in halves], axis=0)
    padded = [np.pad(h, [(0, m - n) for n, m in zip(h.shape, shape, strict=True)]) for h in halves]
    return np.stack(padded)
