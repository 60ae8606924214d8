"""What the commands have in common that run several things in lanes: studies and benches."""

from __future__ import annotations

import math
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffatlas.cli import request as ask
from diffatlas.cli.opened import opened
from diffatlas.errors import InvalidParams

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.events import Waiting
    from diffatlas.library.study import Study
    from diffatlas.operations.paid import Paid
    from diffatlas.studies.run import CellWaits

Lanes = Annotated[
    list[str] | None,
    typer.Option(
        "--lane",
        metavar="NAME=VALUE,...",
        help="One more way of running all of it: model=, scheduler=, backend= or guidance_method= with its "
        "options; may be repeated. Without backend= it runs where the first does.",
    ),
]
Exact = Annotated[bool, typer.Option("--exact", help="One run at a time, bit-equal to `trace`; no batches.")]
Again = Annotated[bool, typer.Option("--again", help="Run even what the library has already.")]
_LANE_FIELDS = ("model", "scheduler", "backend", "guidance_method")


class Backends:
    """The backends of a study or a bench, each opened once, when it is first asked for."""

    def __init__(self, device: str | None, dtype: str | None, ignore_memory: bool) -> None:
        self._options = {"device": device, "dtype": dtype, "ignore_memory": ignore_memory or None}
        self._opened: dict[str, Backend] = {}

    def __call__(self, name: str) -> Backend:
        """Return the backend of a name. Raises `diffatlas.errors.CapabilityError` where it cannot be used here yet."""
        from diffatlas.backends import open_backend
        from diffatlas.registry import ELSEWHERE

        if name in ELSEWHERE:
            return opened(name)
        if name not in self._opened:
            self._opened[name] = open_backend(name, **(self._options if name == "local" else {}))
        return self._opened[name]

    def check_used_by(self, names: Iterable[str]) -> None:
        """Raise `InvalidParams` where it was told how models are loaded here, and none of these backends loads one."""
        told = next((name for name, value in self._options.items() if value is not None), None)
        if told is not None and "local" not in names:
            flag = "--" + told.replace("_", "-")
            raise InvalidParams(
                f"{flag} is for models that run on this machine, and none does here: leave it out.",
                field=told,
            )

    @property
    def local(self) -> Backend | None:
        """The local one, if it was asked for."""
        return self._opened.get("local")


def confirm_paid(expected: Paid, yes: bool) -> None:
    """Ask on a terminal whether what costs much is to be paid for; raises typer.Abort where it is not.

    yes: whether that has been said. Raises `diffatlas.errors.PaidImages` where nobody can be asked.
    """
    from diffatlas.errors import PaidImages
    from diffatlas.operations.paid import check_confirmed

    if yes:
        return
    try:
        check_confirmed(expected, "add --yes to pay for them, or ask for fewer")
    except PaidImages:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        typer.confirm(f"This asks for {expected.words()}. Go on?", abort=True, err=True)


def say_made(study: Study) -> None:
    """Say how many hosted images were paid for today, where a study has a hosted lane."""
    from diffatlas.backends.hosted.money import made_today
    from diffatlas.registry import HOSTED

    if any(lane.backend in HOSTED for lane in study.lanes):
        say(f"Hosted images paid for today: {made_today().words()}.")


def lanes_of_options(texts: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return lanes as `plan_lanes.lanes_of` takes them, from "name=value,name=value" texts.

    A backend that runs elsewhere is asked for its models. Raises `InvalidParams`, and what `ask.models_of` raises.
    """
    lanes = [_lane(text) for text in texts or ()]
    for lane in lanes:
        if "backend" in lane:
            ask.check_backend(lane["backend"])
            ask.models_of(lane["backend"])
    return lanes


def _lane(text: str) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    options = []
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, sign, value = (part.strip() for part in pair.partition("="))
        if not sign or not value or name in asked:
            raise InvalidParams(
                f"The lane {text!r} cannot be read: give each of {', '.join(_LANE_FIELDS)} once, as name=value.",
                field="lanes",
            )
        if name in _LANE_FIELDS:
            asked[name] = None if name == "guidance_method" and value == "plain" else value
        else:
            options.append(pair)
    if options and not asked.get("guidance_method"):
        raise InvalidParams(
            f"The lane {text!r} sets {options[0].partition('=')[0]!r}: a lane takes {', '.join(_LANE_FIELDS)}, "
            "and the options of its guidance method.",
            field="lanes",
        )
    found = ask.method_options(options)
    return {**asked, "guidance_options": found} if found else asked


def say(words: str) -> None:
    """Print a line on stderr: stdout is for results."""
    print(words, file=sys.stderr, flush=True)


def wait_words(wait: CellWaits | Waiting) -> str:
    """Return on one line what a run or a cell waits for, such as "Replicate asks to wait. 12 s left."."""
    return wait.message if wait.seconds is None else f"{wait.message} {math.ceil(wait.seconds)} s left."


class LaneWords:
    """Says what lanes wait for and found, each sentence once; on a terminal a countdown goes on in its line.

    anew: whether that line may be written anew; not below a bar.
    """

    def __init__(self, anew: bool = True) -> None:
        self._anew = anew and sys.stderr.isatty()
        self._said: set[str] = set()
        self._last = ""

    def say(self, words: str) -> None:
        """Say something else, after which no line is written anew."""
        self._last = ""
        say(words)

    def lane(self, words: str) -> None:
        """Say what a lane says. Sentences that differ in their numbers alone are one countdown."""
        kind = re.sub(r"\d+", "", words)
        if kind == self._last and self._anew:
            # One line up, and away with what stands there.
            say(f"\x1b[1A\x1b[2K{words[: shutil.get_terminal_size().columns - 1]}")
        elif kind not in self._said:
            say(words)
            self._last = kind
        self._said.add(kind)
