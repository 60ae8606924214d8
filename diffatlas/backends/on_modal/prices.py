"""What runs on Modal cost: seconds of a container, by the prices of ``gpus.json``, which has their source and dates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from diffatlas.backends.hosted.money import dollars_words
from diffatlas.errors import PaidImages
from diffatlas.settings import settings

#: Seconds that a container is taken to need until it runs anything, at most.
START_SECONDS = 90.0


@dataclass(frozen=True)
class Rate:
    """What a second of a container costs in US dollars: its GPU, cores and memory. None where the GPU is not listed."""

    gpu: str
    dollars: float | None
    #: The date of the oldest price in it.
    date: str

    def words(self) -> str:
        """Return it in words: "an A10 at $1.27 an hour (prices of 2026-09-24)"."""
        what = gpu_words(self.gpu)
        if self.dollars is None:
            return f"{what} at a price that gpus.json does not know"
        return f"{what} at {dollars_words(self.dollars * 3600)} an hour (Modal's prices of {self.date})"


@dataclass(frozen=True)
class Cost:
    """What runs are expected to cost, or have cost."""

    rate: Rate
    #: Seconds of the runs, one after another; None where nothing is known of them yet.
    seconds: float | None
    #: Containers that start for them, and seconds that each waits for more afterwards.
    containers: int = 1
    idle: float = 0.0
    #: How many runs, where they are to be named; None where their time was measured by a container, for one.
    runs: int | None = None

    @property
    def most_seconds(self) -> float | None:
        """Seconds that are paid for at most: with the starts, and the idle time at the end."""
        if self.seconds is None:
            return None
        return self.seconds + self.containers * (START_SECONDS + self.idle)

    @property
    def dollars(self) -> float | None:
        """US dollars of `most_seconds`; None where the time or the price is not known."""
        if self.most_seconds is None or self.rate.dollars is None:
            return None
        return self.most_seconds * self.rate.dollars

    def words(self) -> str:
        """Return it in words, to go into a sentence."""
        which = "" if self.runs is None else f"{self.runs:,} run{'' if self.runs == 1 else 's'} on Modal, "
        if self.seconds is None:
            return f"{which}an unknown time, which the first run will tell, on {self.rate.words()}"
        words = f"{which}about {seconds_words(self.seconds)} on {self.rate.words()}"
        if self.dollars is None:
            return words
        several = "" if self.containers == 1 else f" of {self.containers} containers"
        return f"{words}, about {dollars_words(self.dollars)} with the longest start and idle time{several}"


def rate_of(gpu: str, cores: float = 0.0, memory: float = 0.0) -> Rate:
    """Return what a second of a container costs.

    gpu: the kind as Modal names it, with a number of them ("H100:2"); "" for none. memory: MiB.
    """
    table = _table()
    kind, _, count = gpu.partition(":")
    entries = [(table["core"], cores), (table["gib"], memory / 1024)]
    if kind:
        found = table["gpus"].get(kind.upper())
        if found is None or (count and not count.isdigit()):
            return Rate(gpu, None, "")
        entries.append((found, int(count or 1)))
    used = [(entry, number) for entry, number in entries if number]
    dollars = sum(entry["dollars_a_second"] * number for entry, number in used)
    return Rate(gpu, dollars, min((entry["date"] for entry, _ in used), default=""))


def check_confirmed(expected: Cost, instead: str) -> None:
    """Raise `PaidImages` where runs cost so much that it is to be confirmed (`is_much`).

    instead: how to confirm it, to end the sentence.
    """
    if is_much(expected):
        raise PaidImages(f"This asks for {expected.words()}: {instead}.", asked=expected.words())


def is_much(expected: Cost) -> bool:
    """Return whether runs cost so much that it is to be confirmed (`Settings.modal_confirm`, US dollars; 0 for never).

    Where their cost is not known: whether they are as many as images of hosted models that are to be confirmed
    (`Settings.hosted_confirm`), or one whose time could not be measured.
    """
    chosen = settings()
    if not chosen.modal_confirm:
        return False
    if expected.dollars is not None:
        return expected.dollars >= chosen.modal_confirm
    return expected.runs is None or 0 < chosen.hosted_confirm <= expected.runs


def gpu_words(gpu: str) -> str:
    """Return "an A10", "2 H100", "a container without a GPU"."""
    kind, _, count = gpu.partition(":")
    if not kind:
        return "a container without a GPU"
    if count and count != "1":
        return f"{count} {kind}"
    return f"{'an' if kind[0] in 'AHL' else 'a'} {kind}"


def seconds_words(seconds: float) -> str:
    """Return seconds in words: "12 s", "4 min"."""
    return f"{max(1, round(seconds))} s" if seconds < 120 else f"{round(seconds / 60)} min"


@lru_cache(maxsize=1)
def _table() -> dict:
    return json.loads(Path(__file__).with_name("gpus.json").read_text(encoding="utf-8"))
