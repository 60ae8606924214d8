"""What a model does not read of its prompts: what lies behind an encoder's limit, and words that it was never taught.

Told from the ids that the text encoders were really given, so whatever cuts a prompt, and wherever it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from diffatlas.attention.tokens import words
from diffatlas.capture.taught import taught_words
from diffatlas.capture.text_rows import Place, Tokenised, extent_of


@dataclass(frozen=True)
class Prompt:
    """A text among a call's arguments: the argument's name, and its place where that is a list of several."""

    of: str
    index: int | None
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return what names it: {"of": "prompt"}, of several {"of": "prompt", "index": 1}."""
        return {"of": self.of} | ({} if self.index is None else {"index": self.index})


@dataclass(frozen=True)
class Given:
    """The ids (B, L) that an encoder was given, the encoder's name and family, and what had been tokenised by then."""

    encoder: str
    family: str
    ids: list[list[int]]
    seen: Sequence[Tokenised] = field(repr=False)


@dataclass
class _Read:
    """What one encoder read of one prompt: places of tokens in it, and how many tokens its rows have."""

    family: str
    #: The prompt as places in it are meant: without the blanks around it, where the pipeline takes them away.
    text: str
    tokens: int = 0
    read: set[Place] = field(default_factory=set)
    whole: set[Place] = field(default_factory=set)


def unread(pipe: Any, prompts: Iterable[Prompt], given: Sequence[Given]) -> dict[str, Any]:
    """Return what is not read of the prompts of one call, as ``provenance["prompt"]`` holds it; {} where all is.

    pipe: the pipeline. prompts: the texts among its arguments. given: what its encoders were given for them.

    "cut": a list of {"of", "text", "tokens", "encoders", "families", "read_by"}: of which argument (with "index" where
    that is a list of several texts), what was cut off, how many tokens the encoders read that cut it there, beginning
    and end among them, and the families of those that read all of it. "unknown": a list of {"of", "words"}: words that
    are not among those that the model was taught, where its folder tells them (`taught_words`). "known": those that it
    was taught, by kind, where "unknown" is there.
    """
    distinct = {prompt.text: prompt for prompt in reversed(tuple(prompts))}
    found = _readings(distinct, given)
    told: dict[str, Any] = {}
    if cut := [entry for text, by in found.items() for entry in _cut(distinct[text], by)]:
        told["cut"] = cut
    if known := taught_words(pipe):
        taught = {
            word.casefold() for of_kind in known.values() for phrase in of_kind for word in phrase.split()
        }
        strange = {text: [w for w in words(text) if w.casefold() not in taught] for text in found}
        unknown = [
            {**distinct[text].to_dict(), "words": list(dict.fromkeys(some))}
            for text, some in strange.items()
            if some
        ]
        if unknown:
            told |= {"unknown": unknown, "known": known}
    return told


def _readings(prompts: dict[str, Prompt], given: Sequence[Given]) -> dict[str, dict[str, _Read]]:
    """Return what each encoder, by name, read of each prompt, by text in the order of ``prompts``."""
    by_words = {_plain(text): text for text in prompts}
    found: dict[str, dict[str, _Read]] = {}
    every = given[-1].seen if given else ()
    for call in given:
        for row in call.ids:
            extent = extent_of(row, call.seen, every)
            # Pipelines may clean white space away, so that the tokenizer has another text than was asked for.
            text = None if extent is None else by_words.get(_plain(extent.prompt))
            if text is None:
                continue
            one = found.setdefault(text, {}).setdefault(call.encoder, _Read(call.family, extent.prompt))
            one.tokens = max(one.tokens, len(row))
            one.read.update(extent.read)
            one.whole.update(extent.whole)
    return {text: found[text] for text in reversed(prompts) if text in found}


def _cut(prompt: Prompt, by: dict[str, _Read]) -> list[dict[str, Any]]:
    """Return what encoders did not read of a prompt, those together that cut it at the same place."""
    rest = {name: _rest(one) for name, one in by.items()}
    whole = list(dict.fromkeys(by[name].family for name, text in rest.items() if not text))
    entries = []
    for cut in dict.fromkeys((text, by[name].tokens) for name, text in rest.items() if text):
        names = [name for name, text in rest.items() if (text, by[name].tokens) == cut]
        families = list(dict.fromkeys(by[name].family for name in names))
        entries.append(
            {
                **prompt.to_dict(),
                "text": cut[0],
                "tokens": cut[1],
                "encoders": names,
                "families": families,
                "read_by": whole,
            }
        )
    return entries


def _rest(one: _Read) -> str:
    """Return the text of the tokens that were not read, as it was written; "" where all were."""
    runs: list[list[int]] = []
    follows = False
    for place in sorted(one.whole):
        start, end, _ = place
        missed = place not in one.read
        if missed and follows:
            runs[-1][1] = max(end, runs[-1][1])
        elif missed:
            runs.append([start, end])
        follows = missed
    return " … ".join(one.text[start:end] for start, end in runs)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
