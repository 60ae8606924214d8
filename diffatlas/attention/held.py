"""What a run holds of attention: which steps and layers, whose maps and whose tokens, read one map at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from diffatlas.attention.info import (
    LayerInfo,
    Tables,
    filled,
    has_heads,
    is_called,
    latent_grid,
    read_tables,
)
from diffatlas.attention.kept import KeptMeasures, LayerNumbers
from diffatlas.attention.tokens import Token, unknown_token
from diffatlas.errors import CapabilityError, InvalidParams

#: The maps of a step's index and a layer's key, as `Step.attention` has them; KeyError where the step has none.
Read = Callable[[int, str], np.ndarray]


@dataclass(frozen=True)
class HeldAttention:
    """The attention of one image of a run. It holds no maps: ``read(step, key)`` gives those of a step and layer.

    ``steps``: the indices of the steps that have attention. ``layers``: all that were captured. ``tokens``: along the
    keys of cross-attention. ``latents``: (rows, columns) of the latents, the size of DAAM's maps; None takes the
    finest layer's. ``image``, ``head`` (None for the mean) and ``half`` ("cond" or "uncond") say what is looked at:
    `at` chooses others. ``per_head``: whether the maps have an axis of heads.

    A step is given by its index; ``steps`` and ``layers`` arguments take None for all, one, or several. Layers are
    named as in `Capture.attention_layers`: by part ("mid", "blocks.3"), by name or by glob.

    A layer need not have run at every step. Maps and measures are NaN where a step has none, and means are over what
    is there: `coverage` says what that is. ``held``: by step the keys of the maps that there are; None where only
    reading tells. ``tables``: the tokens by half and image, where they differ; ``tokens`` are those looked at.
    ``kept``: what was measured of the maps before they were resampled.
    """

    steps: tuple[int, ...]
    layers: tuple[LayerInfo, ...]
    tokens: tuple[Token, ...]
    read: Read = field(repr=False, compare=False)
    latents: tuple[int, int] | None = None
    per_head: bool = False
    image: int = 0
    head: int | None = None
    half: str = "cond"
    held: Mapping[int, frozenset[str]] | None = field(default=None, repr=False, compare=False)
    tables: Tables = field(default_factory=dict, repr=False, compare=False)
    kept: KeptMeasures = field(default_factory=KeptMeasures, repr=False, compare=False)

    @classmethod
    def of(cls, trace: Any, tokens: Iterable[Token] | None = None) -> Self:
        """Return the attention of a live `Trace` or of a `Run` in memory.

        tokens: where the trace does not know its prompt, `diffatlas.capture.tokens.token_table` of it.

        Raises `CapabilityError` where no attention was captured, with the reason where the run has one.
        """
        provenance = getattr(trace, "provenance", None) or getattr(trace, "latent_provenance", None) or {}
        missing = getattr(trace, "missing", None) or provenance.get("missing") or {}
        steps = {s.index: s.attention for s in trace.steps if s.attention}
        initial = trace.initial_latents
        return cls.described(
            provenance.get("attention"),
            tuple(steps),
            lambda step, key: steps[step][key],
            latents=None if initial is None else latent_grid(initial.shape, provenance),
            capture=getattr(trace, "capture", None),
            tokens=tokens,
            held={index: frozenset(maps) for index, maps in steps.items()},
            missing=missing.get("attention"),
        )

    @classmethod
    def described(
        cls,
        described: Mapping[str, Any] | None,
        steps: Sequence[int],
        read: Read,
        *,
        latents: tuple[int, int] | None = None,
        capture: Mapping[str, Any] | None = None,
        tokens: Iterable[Token] | None = None,
        held: Mapping[int, Iterable[str]] | None = None,
        missing: str | None = None,
    ) -> Self:
        """Build from ``provenance["attention"]``, the steps that have attention, and what reads one of them.

        capture: the fields of `Capture`; without it the shapes tell whether there is an axis of heads. held: by step
        the keys of its maps. missing: why there is no attention, where that is known.

        Raises `CapabilityError` where there is no attention, with that reason.
        """
        if not described or not steps:
            raise CapabilityError(
                missing
                or "This run holds no attention: capture it again with attention='cross', 'self' or 'all'.",
                field="attention",
            )
        layers = tuple(LayerInfo.from_dict(entry) for entry in described["layers"])
        counts = [layer.tokens for layer in layers if layer.kind == "cross"]
        length = counts[0] if counts else None
        tables = read_tables(described, length) if tokens is None else {}
        table = tables["cond"][0] if tables else filled(tuple(tokens or ()), length)
        there = None if held is None else {step: frozenset(held[step]) for step in steps}
        kept = KeptMeasures.from_dict(described.get("measured") or {})
        trace = cls(tuple(steps), layers, table, read, latents, held=there, tables=tables, kept=kept)
        heads = (capture or {}).get("attention_heads")
        return replace(trace, per_head=heads == "each" if heads else trace._tells_heads())

    def at(self, *, image: int | None = None, head: int | str | None = None, half: str | None = None) -> Self:
        """Return the same looked at for another image of the batch, head ("mean" for all) or half of the guidance.

        Raises `InvalidParams` or `CapabilityError` for what was not captured, here or when maps are read.
        """
        if half not in (None, "cond", "uncond"):
            raise InvalidParams(f"half is {half!r}: give 'cond' or 'uncond'.", field="half")
        if head not in (None, "mean") and not self.per_head:
            raise CapabilityError(
                "The heads of this run were averaged: capture it again with attention_heads='each'.",
                field="head",
            )
        chosen = self.head if head is None else (None if head == "mean" else int(head))
        image = self.image if image is None else image
        half = half or self.half
        return replace(self, image=image, head=chosen, half=half, tokens=self._tokens_at(image, half))

    def within(self, layers: str | Iterable[str] | None) -> Self:
        """Return the same with these layers alone; those of a kind that has none of them stay. None for all.

        Raises `InvalidParams` for layers that there are not.
        """
        if layers is None:
            return self
        wanted = (layers,) if isinstance(layers, str) else tuple(layers)
        kept = {x.key for x in self.layers if any(is_called(x, name) for name in wanted)}
        if not kept:
            there = ", ".join(x.name for x in self.layers)
            raise InvalidParams(
                f"No layer is called {' or '.join(wanted)!r}. There are: {there}.", field="layers"
            )
        kinds = {key.partition(":")[0] for key in kept}
        return replace(self, layers=tuple(x for x in self.layers if x.key in kept or x.kind not in kinds))

    @property
    def cross_layers(self) -> tuple[LayerInfo, ...]:
        """The layers of cross-attention to the tokens."""
        return tuple(x for x in self.layers if x.kind == "cross" and x.tokens == len(self.tokens))

    @property
    def self_layers(self) -> tuple[LayerInfo, ...]:
        """The layers of self-attention."""
        return tuple(x for x in self.layers if x.kind == "self")

    def kept_numbers(self, step: int, key: str) -> LayerNumbers | None:
        """Return what was measured of a layer at a step before its maps were resampled; None where nothing was kept.

        It is of the first image, of the conditional half and of all heads: of another look nothing was kept.
        """
        plain = self.image == 0 and self.head is None and self.half == "cond"
        known = self.kept.of(step, key) if plain else None
        wrong = known and known.activation is not None and len(known.activation) != len(self.tokens)
        return None if wrong else known

    def layers_of(self, kind: str) -> tuple[LayerInfo, ...]:
        """The layers of a kind, "cross" or "self". Raises `InvalidParams` for another."""
        if kind not in ("cross", "self"):
            raise InvalidParams(f"kind is {kind!r}: give 'cross' or 'self'.", field="kind")
        return self.cross_layers if kind == "cross" else self.self_layers

    def holds(self, step: int, key: str) -> bool:
        """Whether a step has the maps of a layer, by the layer's key."""
        if self.held is not None:
            return key in self.held.get(step, ())
        try:
            self.read(step, key)
        except KeyError:
            return False
        return True

    def coverage(self, kind: str = "cross") -> np.ndarray:
        """Return which steps have maps of which layers, (steps, layers) of booleans, in the order of ``steps`` and of
        `cross_layers` or `self_layers`. kind: "cross" or "self".

        Some layers do not run at every step, where a cache takes what they gave before.
        """
        layers = self.layers_of(kind)
        there = [[self.holds(step, layer.key) for layer in layers] for step in self.steps]
        return np.array(there, dtype=bool).reshape(len(self.steps), len(layers))

    def rests_on(self, kind: str = "cross") -> str | None:
        """Say on how many steps and layers the means rest where some are missing; None where none is.

        kind: "cross" or "self".
        """
        there = self.coverage(kind)
        if there.all():
            return None
        counts = there.sum(1)[there.any(1)]
        if not len(counts):
            return "over no step"
        steps = f"{len(counts)} of {len(there)}" if len(counts) < len(there) else f"{len(there)}"
        least, most, all_ = int(counts.min()), int(counts.max()), there.shape[1]
        layers = f"{least} to {most} layers" if least < most else f"{most} of {all_} layers"
        return f"over {steps} steps, {'all layers' if least == all_ else layers}"

    def _maps(self, step: int, layer: LayerInfo) -> np.ndarray:
        """The maps of one layer without the axes of halves, images and heads, float32."""
        maps = self._raw(step, layer).astype(np.float32)
        if not self.per_head:
            return maps
        if self.head is None:
            return maps.mean(0)
        if not 0 <= self.head < len(maps):
            raise InvalidParams(
                f"{layer.name} has {len(maps)} heads, from 0, so there is no head {self.head}.", field="head"
            )
        return maps[self.head]

    def _raw(self, step: int, layer: LayerInfo) -> np.ndarray:
        """The stored maps of one image and half: with an axis of heads where they were kept."""
        step = self._step(step)
        if not self.holds(step, layer.key):
            raise CapabilityError(f"Step {step} holds no attention of {layer.name}.", field="layers")
        maps = np.asarray(self.read(step, layer.key))
        trailing = (3 if layer.kind == "cross" else 4) + self.per_head
        halves = len(maps) if maps.ndim == trailing + 2 else 0
        if halves:
            maps = maps[1 if halves > 1 and self.half == "uncond" else 0]
        if self.half == "uncond" and halves == 1:
            raise CapabilityError("This run was not guided, so it has no unconditional half.", field="half")
        if self.half == "uncond" and not halves:
            raise CapabilityError(
                "Only the conditional half was kept: capture with attention_halves='both'.", field="half"
            )
        if not 0 <= self.image < len(maps):
            raise InvalidParams(
                f"The batch has {len(maps)} images, from 0, so there is no image {self.image}.", field="image"
            )
        return maps[self.image]

    def _tokens_at(self, image: int, half: str) -> tuple[Token, ...]:
        """The tokens of an image and half; of an image that there is not, unknown ones."""
        tables = self.tables.get(half)
        if not tables:
            return self.tokens
        if len(tables) == 1:
            return tables[0]
        if 0 <= image < len(tables):
            return tables[image]
        return tuple(unknown_token(i) for i in range(len(self.tokens)))

    def _tells_heads(self) -> bool:
        """Whether the maps have an axis of heads, by their shapes."""
        found = [(x, next((s for s in self.steps if self.holds(s, x.key)), None)) for x in self.layers]
        first = {layer.key: step for layer, step in found if step is not None}
        return has_heads(
            lambda key: self.read(first[key], key), [layer for layer, step in found if step is not None]
        )

    def _ran(self, step: int, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
        """Those of the layers that a step has."""
        found = [layer for layer in layers if self.holds(step, layer.key)]
        if not found:
            raise none_ran(layers, [step])
        return found

    def _step(self, step: int) -> int:
        if step not in self.steps:
            there = ", ".join(str(s) for s in self.steps)
            raise InvalidParams(f"Step {step!r} has no attention: captured are {there}.", field="step")
        return step

    def _steps(self, steps: int | Iterable[int] | None) -> tuple[int, ...]:
        if steps is None:
            return self.steps
        chosen = (steps,) if isinstance(steps, int) else tuple(steps)
        if not chosen:
            raise InvalidParams("No step was chosen: give at least one.", field="steps")
        return tuple(self._step(s) for s in chosen)

    def chosen(self, kind: str, layers: str | Iterable[str] | None) -> tuple[LayerInfo, ...]:
        """Return the layers of a kind that are meant; None for all.

        Raises `CapabilityError` where there is none of the kind, `InvalidParams` for layers that there are not.
        """
        there = self.layers_of(kind)
        if not there:
            raise CapabilityError(
                f"This run holds no {kind}-attention: capture it again with attention='{kind}' or 'all'.",
                field="attention",
            )
        if layers is None:
            return there
        wanted = (layers,) if isinstance(layers, str) else tuple(layers)
        chosen = tuple(x for x in there if any(is_called(x, name) for name in wanted))
        if not chosen:
            names = ", ".join(x.name for x in there)
            raise InvalidParams(
                f"No layer of {kind}-attention is called {' or '.join(wanted)!r}. There are: {names}.",
                field="layers",
            )
        return chosen

    def _one(self, kind: str, layer: str) -> tuple[LayerInfo]:
        return self.chosen(kind, layer)[:1]


def none_ran(layers: Iterable[LayerInfo], steps: Iterable[int]) -> CapabilityError:
    """Return the error where none of some layers ran at any of some steps."""
    names, indices = ", ".join(x.name for x in layers), ", ".join(str(s) for s in steps)
    return CapabilityError(f"At step {indices} there is no attention of {names}.", field="layers")
