"""What the Bench page asks: a bench whole, its thumbnails and numbers, one card, and what a person says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from diffatlas.ui.wire.call import Call
from diffatlas.ui.wire.kinds import (
    Answer,
    Asked,
    Done,
    Figure,
    File,
    Flag,
    Known,
    Nothing,
    Number,
    One,
    Opened,
    Problem,
    Query,
    Wait,
    Whole,
)

Verdict = Literal["pass", "fail", "cannot judge"]


@dataclass(frozen=True, kw_only=True)
class RenameBench(One):
    """Another title for a bench."""

    title: str


@dataclass(frozen=True, kw_only=True)
class Cards(One):
    """Some cards of a bench, by the keys of their cells."""

    cells: list[str]


@dataclass(frozen=True, kw_only=True)
class CardAsked(One):
    """One card of a bench, by the key of its cell."""

    cell: str


@dataclass(frozen=True, kw_only=True)
class ExplainAsked(CardAsked):
    """One card beside the others of its prompt, as a scorer judges them."""

    scorer: str


@dataclass(frozen=True, kw_only=True)
class MarkAsked(CardAsked):
    """What a person says of an image; verdict: None to take it back."""

    verdict: Verdict | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class LaneOfBench(One):
    """One lane of a bench, by its key."""

    lane: str


@dataclass(frozen=True, kw_only=True)
class NumbersAsked(One):
    """A bench counted. by_hand: whether marks by hand count in the place of what scorers say."""

    by_hand: Flag = True


@dataclass(frozen=True, kw_only=True)
class RatesAsked(NumbersAsked):
    """The rates as a chart, by one scorer. state: the page's own word for what it knows, so that it asks anew."""

    scorer: str
    state: str = ""
    dark: Flag = False
    across: Whole = 1


@dataclass(frozen=True, kw_only=True)
class WhyAsked(One):
    """Why the images of a lane fail, as a scorer judges them. state: as of `RatesAsked`."""

    scorer: str
    lane: str
    state: str = ""


@dataclass(frozen=True, kw_only=True)
class WhyFigureAsked(WhyAsked):
    """The same as a chart."""

    dark: Flag = False
    across: Whole = 1


@dataclass(frozen=True, kw_only=True)
class BenchExport(One):
    """A file of a bench, as `diffatlas.ui.bench_files.bench_file` makes it. None: of the first lane, or scorer."""

    kind: str
    lane: str | None = None
    scorer: str | None = None


@dataclass(frozen=True, kw_only=True)
class ThresholdAsked(One):
    """The cosines of a scorer held against another threshold."""

    scorer: str
    threshold: Number


class BenchRow(Answer):
    """A bench in the list. error: why it cannot be read."""

    id: str
    title: str
    created: str
    status: str
    pack: str
    lanes: list[str]
    scorers: list[str]
    cells: int
    done: int
    error: str | None


class BenchList(Answer):
    """The benches, the newest first."""

    benches: list[BenchRow]


class TaskTold(Answer):
    """A prompt of the pack."""

    id: str
    prompt: str
    tag: str


class LaneTold(Answer):
    """A lane, and the model that it runs."""

    key: str
    name: str
    model: str


class ScorerTold(Answer):
    """A scorer, and what decides its judgements, as far as that is known. threshold: of one that leaves cosines."""

    name: str
    about: str
    model: str
    threshold: float | None


class BenchTold(Answer):
    """What was asked of a bench. Its rows are the tasks of the pack, its columns the seeds."""

    id: str
    title: str
    created: str
    pack: str
    seeds: list[int]
    lanes: list[LaneTold]
    tasks: list[TaskTold]
    scorers: list[ScorerTold]
    query: Query


class MarkTold(Answer):
    """What a person said of an image, and when."""

    verdict: str
    note: str
    at: str


class CardState(Answer):
    """How far a cell is, and what is said of it: by scorer its verdict, score and first reason."""

    status: str
    run: str | None
    cached: bool
    seconds: float | None
    error: str | None
    said: dict[str, tuple[str, float | None, str]]
    wait: Wait | None
    mark: MarkTold | None


class Marked(Answer):
    """What a person says of an image now."""

    mark: MarkTold | None


class LaneProgress(Answer):
    """How far a lane is."""

    status: str
    message: str
    all: int
    complete: int
    failed: int


class ScorerProgress(Answer):
    """How far a scorer is: images that it has judged."""

    status: str
    message: str
    judged: int


class BenchHead(Answer):
    """The bench in sight, as the live value names it."""

    id: str
    title: str


class BenchLive(Answer):
    """A bench that runs, as its page is told of it: `diffatlas.ui.components.bench_view`."""

    request: str
    status: str
    message: str
    ahead: int
    wait: str
    bench: BenchHead | None
    frame: int
    changed: dict[str, CardState]
    left: str
    lanes: dict[str, LaneProgress]
    scorers: dict[str, ScorerProgress]
    notes: list[str]
    known: Known
    error: Problem | None


class BenchWhole(Answer):
    """A stored bench whole: what was asked, and every card."""

    status: str
    bench: BenchTold
    cells: dict[str, CardState]
    lanes: dict[str, LaneProgress]
    scorers: dict[str, ScorerProgress]


class Thumbs(Answer):
    """Small pictures by the keys of cells; None where there is none to be had."""

    thumbs: dict[str, str | None]


class ResultLine(Answer):
    """A category, and a text for each column."""

    tag: str
    cells: list[str]


class ResultTable(Answer):
    """The rates of one lane by one scorer, with those of all categories, and what they mean in sentences."""

    lane: str
    scorer: str
    lines: list[ResultLine]
    whole: ResultLine
    sentences: list[str]


class BenchResults(Answer):
    """A bench in numbers; heads: name and meaning of each column; between: sentences on two lanes."""

    heads: list[list[str]]
    tables: list[ResultTable]
    between: list[str]


class WhyLine(Answer):
    """A measure: what it is, and a sentence on how failing images differ by it."""

    about: str
    sentence: str


class WhyTold(Answer):
    """Why images of a lane fail, a line a measure; how that was measured, its chart says."""

    lines: list[WhyLine]


class CardExplained(Answer):
    """An image beside the others of its prompt. notes: on its company, words and group; lines: a measure each.

    beside: the key of the cell of an image that passed, None where none did.
    """

    notes: list[str]
    lines: list[WhyLine]
    beside: str | None


class Seen(Answer):
    """An object that was found: its box (left, top, right, bottom) in pixels."""

    label: str
    box: list[float]
    score: float | None


class Answered(Answer):
    """An answer to a question; probability: that of the answer that is right."""

    question: str
    expected: str
    answer: str
    probability: float | None


class Opinion(Answer):
    """What a scorer says of an image, what it saw, and what decides its judgements."""

    scorer: str
    verdict: str
    score: float | None
    reasons: list[str]
    seen: list[Seen]
    answers: list[Answered]
    also: list[tuple[str, str]]
    card: list[tuple[str, str]]


class CardDetail(Answer):
    """A card in full; image: where it can be fetched, of so many pixels."""

    image: str | None
    width: int
    height: int
    task: str
    prompt: str
    tag: str
    demands: list[str]
    facts: list[tuple[str, str]]
    said: list[Opinion]
    attention: bool


CALLS = {
    "benches": Call(Nothing, BenchList),
    "bench": Call(One, BenchWhole),
    "bench_thumbs": Call(Cards, Thumbs),
    "bench_card": Call(CardAsked, CardDetail),
    "bench_results": Call(NumbersAsked, BenchResults),
    "bench_rates": Call(RatesAsked, Figure),
    "bench_explain": Call(ExplainAsked, CardExplained),
    "bench_why": Call(WhyAsked, WhyTold),
    "bench_why_figure": Call(WhyFigureAsked, Figure),
    "bench_export": Call(BenchExport, File),
    "mark_card": Call(MarkAsked, Marked),
    "rename_bench": Call(RenameBench, BenchList),
    "forget_bench": Call(One, Done),
    "restore_bench": Call(One, Done),
    "bench_threshold": Call(ThresholdAsked, Done),
    "stop_bench_lane": Call(LaneOfBench, Done),
    "open_card_runs": Call(Cards, Opened),
}


@dataclass(frozen=True, kw_only=True)
class BenchSubmitted(Asked):
    """What the view hands to its page. One of these is said, of the bench ``id``; the others are not.

    carry: as of `diffatlas.ui.wire.submitted.Submitted`. retry: cells that run again. judge: scorers that judge what is
    there; again: what they have judged too. open: a bench whose settings the form takes. explore, attend: a cell whose
    settings the form of the Neighbourhood or the Attention page takes. pack: one that the form takes, whole.
    """

    id: str | None = None
    carry: dict[str, Any] | None = None
    retry: list[str] | None = None
    judge: list[str] | None = None
    again: Flag = False
    open: str | None = None
    explore: str | None = None
    attend: str | None = None
    pack: str | None = None
