"""Which texts a denoiser was really given: traced from the tokenizers through the text encoders to its arguments.

A pipeline may have several prompts, one for each encoder and each image; it may write them into a template, spell a
concept out, cut a text off, or be given what was encoded before. So the keys of its cross-attention are named by
what is seen: the ids that each encoder was given, the text that they came from, and which of the encoder's hidden
states each position of the denoiser's text is (`diffatlas.capture.text_match`).
"""

from __future__ import annotations

import inspect
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from diffatlas.attention.tokens import Token
from diffatlas.capture.text_inputs import TextInput, laid_out, masks_of, samples, text_inputs
from diffatlas.capture.text_match import Prints, Source, prints_of, same, sources
from diffatlas.capture.text_rows import Asked, Row, Tokenised, tokenised, tokens_of
from diffatlas.capture.tokens import family_of
from diffatlas.capture.unread import Given, Prompt, unread
from diffatlas.capture.watching import method_watched

log = logging.getLogger("diffatlas")

#: How many texts, and how many calls of an encoder, are remembered.
TEXTS = 128
CALLS = 48
#: Where the tokens are among ``provenance["attention"]``.
TEXT_ENTRIES = ("text", "texts", "negative_text", "negative_texts")
#: The norm that pipelines apply by themselves to an earlier layer (``clip_skip``).
_LAST_NORM = "final_layer_norm"
#: Parts of the names of arguments that are prompts, and of those that only sound so.
_PROMPT, _NO_PROMPT = "prompt", ("system", "template", "embeds", "mask", "strength")


@dataclass
class _Encoded:
    """One call of a text encoder: the ids that it was given, and the prints of what it gave for them."""

    encoder: weakref.ref[Any]
    tokenizer: Any
    family: str
    ids: list[list[int]]
    #: What had been tokenised by then, the newest last.
    seen: tuple[Tokenised, ...]
    states: list[Prints]


class TextRecorder:
    """Looks on at a pipeline's tokenizers and text encoders, and tells the tokens of a denoiser's text.

    Nothing that the pipeline computes is changed. What was encoded where nobody looked on has no names.

    states: whether to look at hidden states too, without which there are no `tables`.
    """

    def __init__(self, pipe: Any, states: bool = True) -> None:
        self._pipe, self._states = pipe, states
        self._lock = threading.Lock()
        self._texts: deque[Tokenised] = deque(maxlen=TEXTS)
        self._calls: deque[_Encoded] = deque(maxlen=CALLS)
        #: By thread: the texts of the pipeline calls that run, how many calls of encoders do, and of the outermost
        #: call of the pipeline its prompts and what encoders were given.
        self._now = threading.local()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look on inside the context, on every thread."""
        with ExitStack() as stack:
            self._look_on(stack)
            yield

    def _look_on(self, stack: ExitStack) -> None:
        """Begin to look on. Holds no part: those that are given up meanwhile are free to go."""
        pipe, encoders = self._pipe, _encoders(self._pipe)
        tokenizers = {type(part) for part in _tokenizers(pipe).values()}
        watched = [
            (cls, name, self._around_tokenizer) for cls in tokenizers for name in ("__call__", "encode")
        ]
        watched += [
            (cls, "__call__", self._around_encoder) for cls in {type(part) for part in encoders.values()}
        ]
        if callable(pipe):
            watched += [
                (type(pipe), name, self._around_pipeline(name)) for name in ("__call__", "encode_prompt")
            ]
        for cls, name, around in watched:
            if callable(getattr(cls, name, None)):
                stack.enter_context(method_watched(cls, name, around))
        for encoder in {id(part): part for part in encoders.values()}.values() if self._states else ():
            for name, module in encoder.named_modules():
                if name.rpartition(".")[2] == _LAST_NORM:
                    stack.callback(module.register_forward_hook(self._norm_hook(weakref.ref(encoder))).remove)

    def tables(
        self, module: Any, args: tuple, kwargs: Mapping[str, Any], rows: Sequence[int], length: int
    ) -> list[list[Token]] | None:
        """Return the tokens along the ``length`` text keys of each of some samples of one call of a denoiser.

        module, args, kwargs: the denoiser and what it was called with. rows: the samples, by their place in the batch.

        A position whose source was not seen has no word (text "", special). Where two encoders' features lie side by
        side (SDXL, SD3), the table has the first one's tokens. None where nothing of the texts is known. Never raises.
        """
        try:
            with self._lock:
                calls, texts = list(self._calls), list(self._texts)
            return _Tables(calls, texts).of(module, args, kwargs, rows, length) if calls else None
        except Exception:
            log.warning("The tokens of the text cannot be told.", exc_info=True)
            return None

    def unread(self) -> dict[str, Any]:
        """Return what the model does not read of the prompts of the pipeline's call that runs on this thread.

        Plain JSON types, as `diffatlas.capture.unread.unread` says; {} where there is nothing, or where it cannot be
        told. Never raises.
        """
        try:
            return unread(self._pipe, getattr(self._now, "prompts", ()), getattr(self._now, "given", ()))
        except Exception:
            log.warning("What the model does not read of the prompt cannot be told.", exc_info=True)
            return {}

    def _around_pipeline(self, name: str) -> Callable[..., Any]:
        method = getattr(type(self._pipe), name, None)
        signature = inspect.signature(method) if callable(method) else None

        def around(pipe: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
            outer = getattr(self._now, "asked", ())
            prompts = _prompts(signature, pipe, args, kwargs)
            self._now.asked = (*outer, tuple(dict.fromkeys(prompt.text for prompt in prompts)))
            if not outer:
                self._now.prompts, self._now.given = prompts, []
            try:
                return proceed(*args, **kwargs)
            finally:
                self._now.asked = outer

        return around

    def _around_tokenizer(
        self, tokenizer: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        out = proceed(*args, **kwargs)
        try:
            if any(tokenizer is part for part in _tokenizers(self._pipe).values()):
                asked: Asked = getattr(self._now, "asked", ())
                rows = tokenised(tokenizer, args, kwargs, out, asked)
                with self._lock:
                    self._texts.extend(rows)
        except Exception:
            log.debug("A call of a tokenizer could not be read.", exc_info=True)
        return out

    def _around_encoder(
        self, encoder: Any, proceed: Callable[..., Any], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        outer = getattr(self._now, "depth", 0)
        self._now.depth = outer + 1
        try:
            out = proceed(*args, **kwargs)
        finally:
            self._now.depth = outer
        try:
            self._see_encoded(encoder, args, kwargs, out)
        except Exception:
            log.debug("A call of a text encoder could not be read.", exc_info=True)
        return out

    def _see_encoded(self, encoder: Any, args: tuple, kwargs: Mapping[str, Any], out: Any) -> None:
        name = next((name for name, part in _encoders(self._pipe).items() if part is encoder), None)
        ids = kwargs.get("input_ids", args[0] if args else None)
        if name is None or getattr(ids, "ndim", 0) != 2 or ids.is_floating_point():
            return
        # Of the same number, as pipelines name them; else the one there is.
        tokenizers = _tokenizers(self._pipe)
        suffix = name[-2:] if name[-2:-1] == "_" and name[-1:].isdigit() else ""
        tokenizer = tokenizers.get(f"tokenizer{suffix}") or next(iter(tokenizers.values()), None)
        family, rows = family_of(encoder, tokenizer), ids.tolist()
        with self._lock:
            seen = tuple(self._texts)
        if getattr(self._now, "asked", ()):
            self._now.given.append(Given(name, family, rows, seen))
        states = list(_states(out, tuple(ids.shape))) if self._states else []
        if not states:
            return
        call = _Encoded(weakref.ref(encoder), tokenizer, family, rows, seen, prints_of(states))
        with self._lock:
            self._calls.append(call)

    def _norm_hook(self, encoder: weakref.ref[Any]) -> Callable[..., None]:
        def hook(module: Any, args: tuple, output: Any) -> None:
            try:
                if not getattr(self._now, "depth", 0):
                    self._see_normed(encoder(), args[0], output)
            except Exception:
                log.debug("A norm of hidden states could not be read.", exc_info=True)

        return hook

    def _see_normed(self, encoder: Any, given: Any, normed: Any) -> None:
        """A hidden state of an encoder was normed by itself: what came out is one of its hidden states as well."""
        with self._lock:
            calls = [call for call in self._calls if call.encoder() is encoder]
        if getattr(normed, "ndim", 0) != 3 or not calls:
            return
        before, after = prints_of([given, normed])
        for call in reversed(calls):
            if any(same(before, state) for state in call.states):
                call.states.append(after)
                return


def describe_texts(
    cond_tables: Sequence[Sequence[Token]] | None, uncond_tables: Sequence[Sequence[Token]] | None = None
) -> dict[str, Any]:
    """Return the entries of ``provenance["attention"]`` that hold the tokens by image, as plain JSON types.

    cond_tables: of each image, from `TextRecorder.tables`; None where not known. uncond_tables: the same of the
    unconditional half; None where not known, or where there is none.

    "text": the first image's; "texts": every image's, where they differ; "negative_text" and "negative_texts" the same
    of the unconditional half, an empty "negative_text" where that is not known. {} where nothing is.
    """
    if not cond_tables and not uncond_tables:
        return {}
    return _entries("text", cond_tables) | (_entries("negative_text", uncond_tables) or {"negative_text": []})


def _entries(name: str, tables: Sequence[Sequence[Token]] | None) -> dict[str, Any]:
    if not tables:
        return {}
    spelled = [[token.to_dict() for token in table] for table in tables]
    entries: dict[str, Any] = {name: spelled[0]}
    if any(table != spelled[0] for table in spelled[1:]):
        entries[f"{name}s"] = spelled
    return entries


class _Tables:
    """The tokens of denoiser calls, from what was seen until then."""

    def __init__(self, calls: Sequence[_Encoded], texts: Sequence[Tokenised]) -> None:
        self._calls = calls
        self._texts = texts
        self._rows: dict[tuple[int, int], Row] = {}

    def of(
        self, module: Any, args: tuple, kwargs: Mapping[str, Any], rows: Sequence[int], length: int
    ) -> list[list[Token]] | None:
        given, masks = text_inputs(module, args, kwargs), masks_of(module, args, kwargs)
        found = []
        for row in rows:
            numbers: dict[tuple[str, ...], int] = {}
            parts = [self._part(name, value, row, numbers) for name, value in given]
            table = laid_out([part for part in parts if part is not None], length, masks, row, module)
            found.append([replace(token, index=i) for i, token in enumerate(table)])
        return found if any(token.text for table in found for token in table) else None

    def _part(self, name: str, value: Any, row: int, numbers: dict[tuple[str, ...], int]) -> TextInput | None:
        """Return one argument's tokens of a sample; None where it is no text.

        numbers: at which number the words of each prompt begin. Encoders that were given other words than the first
        one have numbers behind its own.
        """
        best: list[Source | None] = []
        for text in samples(value, row):
            origins = sources(text, [call.states for call in self._calls])
            if not best or _known(origins) > _known(best):
                best = origins
        tokens: list[Token | None] = []
        for origin in best:
            if origin is None:
                tokens.append(None)
                continue
            read = self._row(*origin[:2])
            token = read.tokens[origin[2]]
            words = tuple(word.casefold() for word in read.words)
            begin = numbers.setdefault(words, sum(len(others) for others in numbers))
            tokens.append(token if token.word is None else replace(token, word=token.word + begin))
        return TextInput(name, tokens) if tokens else None

    def _row(self, event: int, row: int) -> Row:
        if (event, row) not in self._rows:
            call = self._calls[event]
            self._rows[event, row] = tokens_of(
                call.ids[row], call.seen, call.tokenizer, call.family, self._texts
            )
        return self._rows[event, row]


def _known(origins: Sequence[Source | None]) -> int:
    return sum(origin is not None for origin in origins)


def _parts(pipe: Any) -> dict[str, Any]:
    """The parts of a pipeline by name, as they are now."""
    try:
        return dict(pipe.components)
    except Exception:
        # A pipeline of somebody's own, or one that a part was taken from.
        return dict(vars(pipe))


def _tokenizers(pipe: Any) -> dict[str, Any]:
    """Tokenizers by name, also those inside of processors."""
    found = {}
    for name, part in _parts(pipe).items():
        for each in (part, getattr(part, "tokenizer", None)):
            if callable(each) and hasattr(each, "convert_ids_to_tokens"):
                found.setdefault(name, each)
    return found


def _encoders(pipe: Any) -> dict[str, Any]:
    """What may be a text encoder: models that look words up."""
    import torch

    return {
        name: part
        for name, part in _parts(pipe).items()
        if isinstance(part, torch.nn.Module)
        and ("text" in name or "language" in name or hasattr(part, "get_input_embeddings"))
    }


def _prompts(
    signature: inspect.Signature | None, pipe: Any, args: tuple, kwargs: Mapping[str, Any]
) -> tuple[Prompt, ...]:
    """The texts among the arguments of a pipeline call, in its order."""
    if signature is None:
        return ()
    try:
        given = signature.bind_partial(pipe, *args, **kwargs).arguments
    except TypeError:  # the call will say so
        return ()
    found: list[Prompt] = []
    for name, value in given.items():
        if _PROMPT in name and not any(part in name for part in _NO_PROMPT):
            several = isinstance(value, (list, tuple)) and len(value) > 1
            values = value if isinstance(value, (list, tuple)) else [value]
            found += [
                Prompt(name, i if several else None, text)
                for i, text in enumerate(values)
                if isinstance(text, str)
            ]
    return tuple(found)


def _states(out: Any, shape: tuple[int, int], depth: int = 0) -> Iterator[Any]:
    """Hidden states in what an encoder returned, each (B, L, D) for ids (B, L)."""
    if getattr(out, "ndim", 0) == 3 and out.is_floating_point():
        if tuple(out.shape[:2]) == shape:
            yield out
        elif tuple(out.shape[:2]) == shape[::-1]:  # ChatGLM has the positions first
            yield out.transpose(0, 1)
    elif isinstance(out, Mapping) and depth < 3:
        for value in out.values():
            yield from _states(value, shape, depth + 1)
    elif isinstance(out, (list, tuple)) and depth < 3:
        for value in out:
            yield from _states(value, shape, depth + 1)
