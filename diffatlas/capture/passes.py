"""The denoiser calls of one step: which prediction is which, what was attended to, and which text was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diffatlas.capture import arrays
from diffatlas.capture.arrays import Sent
from diffatlas.capture.calls import StepCall, first_tensor
from diffatlas.capture.reasons import Reasons
from diffatlas.capture.roles import Part, Pass, RoleFinder, Roles, is_same_memory, parts_of, role_of_one
from diffatlas.capture.spec import Capture
from diffatlas.capture.tables import writes_of
from diffatlas.capture.text_inputs import given_texts
from diffatlas.capture.trace import Trace
from diffatlas.errors import CapabilityError

if TYPE_CHECKING:
    import torch

    from diffatlas.capture.attention import AttentionRecorder
    from diffatlas.capture.texts import TextRecorder

#: Denoiser calls that are held for one step of the scheduler; a pipeline that makes more steps in another way.
MOST_PASSES = 256


@dataclass(frozen=True)
class Mixed:
    """What is known of the passes that a step was made of.

    named: by role, the copy of a pass and which part of its batch. sign: of the predictions against the scheduler's.
    attention: arrays, or what gives them by ``.array()``. same_texts: whether the texts are still those of the first
    step, where that had to be computed.
    """

    named: Mapping[str, tuple[Sent, int]] = field(default_factory=dict)
    sign: float = 1.0
    attention: Mapping[str, Any] | None = None
    same_texts: Sequence[Sent] = ()


@dataclass(frozen=True)
class _SentPass(Pass):
    """A pass whose ``output`` is the copy, and the tensor that it is a copy of with its count of writes."""

    sent: Sent
    own: torch.Tensor
    writes: int | None


@dataclass(frozen=True)
class _Text:
    """A text of the first step, with its count of writes, and a copy that nobody writes to."""

    own: torch.Tensor
    writes: int | None
    copy: torch.Tensor


class Passes:
    """Keeps the denoiser calls since the last step of one pipeline call, and tells what they were for."""

    def __init__(
        self,
        capture: Capture,
        trace: Trace,
        reasons: Reasons,
        attention: AttentionRecorder | None,
        texts: TextRecorder | None,
    ) -> None:
        self._capture, self._trace, self._reasons = capture, trace, reasons
        self._attention, self._texts = attention, texts
        self.begin()

    def begin(self) -> None:
        """Forget the call before, with all of its tensors."""
        self._passes: list[_SentPass] = []
        self._roles = RoleFinder()
        #: The texts of the conditional pass of the first step, whose words are told.
        self._first_texts: list[_Text] = []

    def add(self, module: Any, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        """Keep a call of a denoiser, where something of it is asked for."""
        if not (self._capture.predictions or self._capture.metrics or self._attention is not None):
            return
        if len(self._passes) >= MOST_PASSES:
            self._passes.clear()
            if self._attention is not None:
                self._attention.take(1, None, None)
        prediction = first_tensor(output)
        if prediction is not None:
            sent = arrays.send(prediction)  # A pipeline may go on to write into it.
            writes = writes_of(prediction)
            self._passes.append(_SentPass(module, args, kwargs, sent.tensor, sent, prediction, writes))

    def sent(self, prediction: torch.Tensor) -> Sent | None:
        """Return the copy of a prediction that is a pass's own, with nothing written into it since; else None."""
        for one in self._passes:
            if one.own is prediction and one.writes is not None and one.writes == writes_of(prediction):
                return one.sent
        return None

    def take(self, given: StepCall, guided: torch.Tensor, index: int) -> Mixed:
        """Return what the passes since the last step were for.

        guided: the scheduler's prediction, of the shape of the state. index: of the step (0-based).
        """
        passes, self._passes = self._passes, []
        parts = parts_of(passes, len(given.sample), given.sample.shape)
        roles = self._find_roles(guided, parts, passes)
        named: dict[str, tuple[Sent, int]] = {}
        if roles is not None and roles.guided:
            for name, part in zip(roles.names, parts, strict=True):
                if name is not None:
                    named[name] = part.source.sent, part.rows.start // len(given.sample)
        elif roles is None and len(parts) > 1:
            self._trace.missing.setdefault(
                "cond_pred",
                "The scheduler received something else than a mixture that is known of the denoiser's passes, so it"
                " cannot be told which of them is the conditional one.",
            )
        elif not index and len(parts) == 1 and _is_doubled(given, parts[0]):
            self._trace.missing["cond_pred"] = (
                "The scheduler is given the same state twice, as one batch, so that the passes of guidance cannot be"
                " told from images: states and predictions have twice as many rows as there are images."
            )
        attention, same_texts = None, []
        if self._attention is not None:
            cond, uncond = (None, None) if roles is None else (roles.index("cond"), roles.index("uncond"))
            if index and cond is not None:
                same_texts = self._reasons.attempt("text", lambda: self._same_texts(parts[cond], index)) or []
            attention = self._reasons.attempt(
                "attention", lambda: self._attention_of(given, parts, cond, uncond, index)
            )
        return Mixed(named, 1.0 if roles is None else roles.sign, attention, same_texts)

    def _find_roles(
        self, guided: torch.Tensor, parts: Sequence[Part], passes: Sequence[_SentPass]
    ) -> Roles | None:
        told, self._trace.roles = self._trace.roles, None
        if told is not None and len(told.names) == len(parts):
            return told
        if not parts or (alone := role_of_one(parts)) is not None:
            return alone if parts else None

        def arrive() -> None:
            for one in passes:
                one.sent.wait()

        return self._reasons.attempt("cond_pred", lambda: self._roles.find(guided, parts, arrive))

    def _attention_of(
        self, given: StepCall, parts: Sequence[Part], cond: int | None, uncond: int | None, index: int
    ) -> Mapping[str, Any] | None:
        """Return the attention since the last step; at the first one describe its layers and words too."""
        described = None if index else self._reasons.attempt("attention", self._attention.describe)
        if described is not None:
            described = described | self._words(described, parts, cond, uncond)
            self._trace.latent_provenance["attention"] = described
            if cond is not None and "text" in described:
                self._first_texts = [
                    _Text(text, writes_of(text), text.detach().clone()) for text in _texts(parts[cond])
                ]
        taken = self._attention.take(len(given.sample), cond, uncond)
        if cond is None and "attention" in self._trace.latent_provenance and parts:
            raise CapabilityError(
                "At some steps it cannot be told which of the denoiser's passes is the conditional one, so their"
                " attention is left out."
            )
        return taken

    def _same_texts(self, part: Part, index: int) -> list[Sent]:
        """Say where a callback has given the model another text; return what must be computed to know."""
        first = self._first_texts
        texts = _texts(part) if first else []
        if [(text.shape, text.dtype) for text in texts] != [
            (one.copy.shape, one.copy.dtype) for one in first
        ]:
            say_other_text(self._trace.missing, index)
            return []
        return [
            arrays.send((text == one.copy).all())
            for text, one in zip(texts, first, strict=True)
            if one.writes is None or one.writes != writes_of(text) or not is_same_memory(text, one.own)
        ]

    def _words(
        self, described: Mapping[str, Any], parts: Sequence[Part], cond: int | None, uncond: int | None
    ) -> dict[str, Any]:
        """Return the words of the keys, as entries of ``provenance["attention"]``; nothing where they are not known."""
        from diffatlas.capture.texts import describe_texts

        lengths = [layer["tokens"] for layer in described["layers"] if layer["kind"] == "cross"]
        if not lengths or self._texts is None:
            return {}
        tables: list[Any] = []
        for number in (cond, uncond):
            if number is None:
                tables.append(None)
                continue
            source, rows = parts[number].source, parts[number].rows
            samples = range(*rows.indices(len(source.output)))
            tables.append(self._texts.tables(source.module, source.args, source.kwargs, samples, lengths[0]))
        return describe_texts(*tables)


def say_other_text(missing: dict[str, str], index: int) -> None:
    """Say that the model was given another text from a step (0-based) on than that whose words are told."""
    missing.setdefault(
        "text",
        f"The model was given another text from step {index + 1} on: the words of its attention are those of the"
        " first step.",
    )


def _texts(part: Part) -> list[torch.Tensor]:
    source = part.source
    rows = range(*part.rows.indices(len(source.output)))
    return given_texts(source.module, source.args, source.kwargs, rows)


def _is_doubled(given: StepCall, part: Part) -> bool:
    """Whether a batch is the two passes of guidance for the same images, mixed to the same prediction (DiT)."""
    import torch

    half = len(given.sample) // 2
    if part.prediction is None or not half or len(given.sample) % 2:
        return False
    part.source.sent.wait()
    same = [torch.equal(x[:half], x[half:]) for x in (given.sample, given.model_output, part.prediction)]
    return same == [True, True, False]
