"""Attention of a run's steps, read where it happens: at the calls that compute it inside the chosen layers.

The queries and keys that attention was given, after norms and rotary embedding, give the probabilities
(`diffatlas.capture.attention_maps`) on the side, and the model's own output goes on as it is. Read are only the calls
of the observed denoiser, and of those the samples that the step before says will be wanted.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffatlas.capture.arrays import Sent, send
from diffatlas.capture.attention_layers import (
    Layer,
    attention_layers,
    chosen_layers,
    compiled_layers,
    has_compiled,
)
from diffatlas.capture.attention_layout import Frame, Known, Sequences, TextOrder, part_of
from diffatlas.capture.attention_maps import Part
from diffatlas.capture.attention_reasons import not_read
from diffatlas.capture.attention_seen import Watch
from diffatlas.capture.attention_together import Together
from diffatlas.capture.attention_ways import Attended, maps_of_samples, one_by_one
from diffatlas.capture.spec import Capture
from diffatlas.errors import CapabilityError

log = logging.getLogger("diffatlas")
#: Bytes of queries and keys that are held until it is known whose they are; beyond, all samples are read at once.
MOST_HELD = 2**30


@dataclass(frozen=True)
class _Arriving:
    """Maps of several samples, of one layer or more, on their way to the CPU."""

    sent: Sent

    @functools.cached_property
    def array(self) -> np.ndarray:
        """All of them; waited for once."""
        return self.sent.array()


@dataclass(frozen=True)
class _Held:
    """What one attention call was given, to be read later."""

    layer: Layer
    attended: Attended
    part: Part


@dataclass
class _Call:
    """One denoiser call, and what was read in it.

    rows: samples in the call; None where that cannot be told.
    wanted: the samples to read; None where it is not known, so that what is needed for any of them is held.
    maps: "<kind>:<layer>" -> sample -> where its map is: what was sent, and which of it.
    spare: whether ``held`` is dropped once the step goes on as the step before did.
    """

    module: Any
    rows: int | None
    sequences: Sequences | None = None
    wanted: frozenset[int] | None = None
    spare: bool = False
    maps: dict[str, dict[int, tuple[_Arriving, int]]] = field(default_factory=dict)
    held: list[_Held] = field(default_factory=list)

    @property
    def form(self) -> tuple[int, int | None]:
        """What tells whether the calls of two steps are alike."""
        return id(self.module), self.rows


class AttentionRecorder:
    """Reads the attention of a run's denoiser calls; `take` gives that of a step.

    capture: with `Capture.attention` other than "off".
    denoisers: of the pipeline (`diffatlas.capture.calls.denoisers`).

    Raises `CapabilityError` where no layer is one of those asked for.
    """

    def __init__(self, capture: Capture, denoisers: Sequence[Any]) -> None:
        self._capture = capture
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
        self._compiled = compiled_layers(denoisers)
        plain = [layer for layer in self._layers if layer.name not in self._compiled]
        self._order = TextOrder()
        self._denoisers = denoisers
        self._has_compiled = any(has_compiled(denoiser) for denoiser in denoisers)
        self._watch = Watch(plain, self._order, self._learn, self._on_attention, self._has_compiled)
        self._together = Together(self._read_several)
        #: Denoiser calls since the last step; the one that runs and is read.
        self._calls: list[_Call] = []
        self._call: _Call | None = None
        #: Forms of the calls of the last step, and the samples that were wanted of each.
        self._last: list[tuple[tuple[int, int | None], frozenset[int]]] = []
        self._batch: int | None = None
        self._held_bytes = 0
        self._described: dict[str, dict[str, Any]] = {}
        self._failed: str | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Be ready to read, inside this context; nothing is done outside of `reading`."""
        with self._watch.watching():
            yield

    @contextmanager
    def reading(
        self, module: Any, args: tuple, kwargs: Mapping[str, Any], index: int, total: int | None, begins: bool
    ) -> Iterator[None]:
        """Read the denoiser call that is made inside this context, on this thread. Raises nothing of its own.

        module, args, kwargs: the denoiser and what it is called with.
        index, total: of the coming step (0-based), and how many there will be; None where that is not known.
        begins: whether it is the first call of a pipeline's call.
        """
        try:
            self._begin(module, args, kwargs, index, total, begins)
        except Exception as error:
            self._fail(error)
        try:
            yield
            self._end()
        finally:
            self._watch.end()
            self._together.forget()
            self._call = None

    def describe(self) -> dict[str, Any]:
        """Return what was read of the first step, as ``provenance["attention"]``.

        ``layers``: name, kind, heads, grid (rows, columns of the places), tokens (of cross-attention), block, joint
        (whether text and image share one sequence, so that cross and self add up to 1 together) and cells (rows,
        columns of pooled self-attention).

        Raises `CapabilityError` with the reason where nothing could be read.
        """
        if self._order.image is not None:
            # Of what came before they were joined, a text may have had the length of a coarser grid.
            found = self._described.items()
            self._described = {k: d for k, d in found if d["grid"][0] * d["grid"][1] == self._order.image}
        if not self._described:
            raise CapabilityError(
                self._failed
                or not_read(
                    self._denoisers, self._layers, self._compiled, self._watch, self._capture.attention_kinds
                ),
                field="attention",
            )
        place = {layer.name: i for i, layer in enumerate(self._layers)}
        return {"layers": sorted(self._described.values(), key=lambda d: (place[d["name"]], d["kind"]))}

    def take(self, batch: int, cond: int | None, uncond: int | None) -> dict[str, Maps] | None:
        """Return the maps since the last call of this, by "<kind>:<layer>"; None where there are none. Waits for none.

        batch: images. All denoiser calls since the last take, in order, are cut into parts of so many samples.
        cond, uncond: the parts' numbers of the conditional and the unconditional pass; None where there is none, or
            where it cannot be told. Without a conditional one nothing is returned.

        Their arrays: of cross (B, tokens, rows, columns), of self (B, cell rows, cell columns, cell rows, cell
        columns); with an axis of heads after B, and one of the halves before it, where `Capture` asks for these. Maps
        of samples that were not read, because the step went another way than the one before, are absent.
        """
        calls, self._calls = self._calls, []
        self._held_bytes = 0
        parts = [
            (call, range(start, start + batch))
            for call in calls
            if call.rows is not None and call.rows % batch == 0
            for start in range(0, call.rows, batch)
        ]
        numbers = [cond, uncond] if self._capture.attention_halves == "both" else [cond]
        told = cond is not None and all(call.rows is not None for call in calls)
        halves = [parts[n] for n in numbers if n is not None and n < len(parts)] if told else []
        self._batch = batch
        self._last = [
            (call.form, frozenset(row for of, rows in halves if of is call for row in rows)) for call in calls
        ]
        if not halves or cond is None or cond >= len(parts):
            self._last = []
            return None
        for call, rows in halves:
            for held in call.held:
                self._read(call, held, self._rows(held.attended, rows))
        keys = [key for key in self._described if all(_has(*half, key) for half in halves)]
        both = self._capture.attention_halves == "both"
        taken = {
            key: Maps(tuple(tuple(call.maps[key][row] for row in rows) for call, rows in halves), both)
            for key in keys
        }
        return taken or None

    def _begin(
        self, module: Any, args: tuple, kwargs: Mapping[str, Any], index: int, total: int | None, begins: bool
    ) -> None:
        if begins:
            self._calls, self._last, self._batch, self._held_bytes = [], [], None, 0
            self._described, self._failed = {}, None
            self._order.forget()
            self._watch.forget()
        sequences = Sequences.of(module, args, kwargs)
        call = _Call(module, None if sequences is None else sequences.rows, sequences)
        self._calls.append(call)
        call.wanted, call.spare = self._expected()
        if sequences is None or not self._capture.wants_attention(index, total or index + 1):
            return
        if call.wanted is not None and not call.wanted and not call.spare:
            return
        self._call = call
        # Compiled parts would be compiled anew where the whole call is looked at.
        learning = begins and not hasattr(module, "mid_block") and not self._has_compiled
        self._watch.begin(sequences, learning)

    def _end(self) -> None:
        """Read what waits for more of its shape, once the denoiser's call is over."""
        if self._call is not None:
            try:
                self._together.end()
            except Exception as error:
                self._fail(error)

    def _expected(self) -> tuple[frozenset[int] | None, bool]:
        """Return the samples that will be wanted of the last call, and whether the others may still turn out to be.

        Known where the calls of the step so far are those of the step before.
        """
        number = len(self._calls) - 1
        if [call.form for call in self._calls] != [form for form, _ in self._last[: number + 1]]:
            return None, False
        for call in self._calls[:-1]:
            if call.spare:
                call.held.clear()
        wanted = self._last[number][1]
        # The pass of one half may turn out to be the only one of its step, where guidance has ended.
        may_be_only = not any(rows for _, rows in self._last[:number]) and self._calls[-1].rows == self._batch
        return wanted, not wanted and may_be_only

    def _learn(self, frame: Frame, query: Sequence[int], key: Sequence[int]) -> Known | None:
        """Return what is to be read of an attention call of these shapes; None where it is not one that can be."""
        call = self._call
        if call is None or not _is_of(frame, query[0], call.rows):
            return None
        shape = (query[2], key[2])
        if frame.known is not None and frame.known.shape == shape:
            return frame.known
        resolution = self._capture.attention_resolution
        asked, every = self._capture.attention_kinds, ("cross", "self")
        part = part_of(frame, call.sequences, self._order, shape, asked, resolution)
        if part is None and part_of(frame, call.sequences, self._order, shape, every, resolution) is None:
            return None
        return Known((frame.image, frame.text), part, shape)

    def _on_attention(self, frame: Frame, attended: Attended, part: Part) -> None:
        """Read an attention call, or keep what is needed to read it once it is known whose it is."""
        call = self._call
        query, key = attended.query, attended.key
        held, rows = _Held(frame.layer, attended, part), call.wanted
        unknown = rows is None
        # Where a GPU computes while the CPU goes on, it is sooner done than held.
        if call.spare or (unknown and one_by_one(query)):
            size = sum(t.numel() * t.element_size() for t in (query, key))
            if self._held_bytes + size <= MOST_HELD:
                self._held_bytes += size
                call.held.append(held)
                unknown, rows = False, ()
        rows = self._rows(attended, range(len(query)) if unknown else rows)
        if not self._together.add(frame.layer.name, attended, part, rows):
            self._read(call, held, rows)
        self._describe(frame, part, query.shape[1], key.shape[2])

    @staticmethod
    def _rows(attended: Attended, rows: Iterable[int]) -> list[int]:
        """Return these samples, of those that are there."""
        return [row for row in sorted(rows) if row < len(attended.query)]

    def _read(self, call: _Call, held: _Held, rows: Sequence[int]) -> None:
        """Begin to send the maps of these samples of a call."""
        for kind, some, arriving in self._sent(held.attended, held.part, rows):
            of_layer = call.maps.setdefault(f"{kind}:{held.layer.name}", {})
            of_layer.update((row, (arriving, i)) for i, row in enumerate(some))

    def _read_several(self, names: list[str], rows: range, attended: Attended, part: Part) -> None:
        """Begin to send the maps of several layers, whose samples follow on each other."""
        for kind, some, arriving in self._sent(attended, part, range(len(attended.query))):
            for number in some:
                name, row = names[number // len(rows)], rows[number % len(rows)]
                self._call.maps.setdefault(f"{kind}:{name}", {})[row] = (arriving, number - some[0])

    def _sent(
        self, attended: Attended, part: Part, rows: Sequence[int]
    ) -> list[tuple[str, Sequence[int], _Arriving]]:
        """Return (kind, samples, their maps) of an attention call."""
        import torch

        each, begun = self._capture.attention_heads == "each", []
        with torch.no_grad(), torch.autocast(attended.query.device.type, enabled=False):
            for found in maps_of_samples(attended, part, rows, each):
                for kind, maps in (("cross", found.cross), ("self", found.own)):
                    if maps is not None:
                        sent = Sent(maps) if maps.device.type == "cpu" else send(maps)
                        begun.append((kind, found.rows, _Arriving(sent)))
        return begun

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

    def _fail(self, error: Exception) -> None:
        log.warning("Attention was not read.", exc_info=error)
        self._failed = self._failed or f"Reading attention failed ({type(error).__name__}: {error})."


@dataclass(frozen=True)
class Maps:
    """The maps of one layer at one step, on their way to the CPU.

    halves: for each half, where the map of each image is: what was sent, and which of it.
    both: whether the array has an axis of the halves.
    """

    halves: tuple[tuple[tuple[_Arriving, int], ...], ...]
    both: bool

    def array(self) -> np.ndarray:
        """Return them as `AttentionRecorder.take` tells; wait for what is not there yet."""
        stacked = [np.stack([arriving.array[i] for arriving, i in half]) for half in self.halves]
        return _as_long(stacked) if self.both else stacked[0]


def _is_of(frame: Frame, rows: int, total: int | None) -> bool:
    """Whether an attention call with so many samples is that of a denoiser call with ``total``."""
    # Where a layer is perturbed for the last samples, the others come first and alone.
    perturbs = type(getattr(frame.layer.module, "processor", None)).__name__.startswith("PAG")
    return rows == total or (perturbs and total is not None and rows < total)


def _has(call: _Call, rows: range, key: str) -> bool:
    return all(row in call.maps.get(key, ()) for row in rows)


def _as_long(halves: Sequence[np.ndarray]) -> np.ndarray:
    """Stack two halves; the tokens that only a longer one has get no attention in the other."""
    shape = np.max([half.shape for half in halves], axis=0)
    padded = [np.pad(h, [(0, m - n) for n, m in zip(h.shape, shape, strict=True)]) for h in halves]
    return np.stack(padded)
