"""The benches of a library: a folder each, in ``.benches`` beside the runs.

::

    <library>/.benches/<bench id>/
      bench.json             what was asked, and whether it runs
      pack.json              the pack
      cells.jsonl            what became of each cell: its last line counts
      verdicts.jsonl         what decides a scorer's judgements, and each of them: its last line counts
      marks.jsonl            what a person says of an image: its last line counts
      title.json             the title that a person gave it, where one did
      images/a-0-3.png       the images of cells that left no run

The runs themselves are in the library. Deleting a bench leaves them there, and a run may go before its bench.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from diffatlas import files
from diffatlas.bench.bench import HAND, Bench, Mark
from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.lines import append, entries
from diffatlas.bench.packs.files import adapter, pack_text
from diffatlas.bench.plan import cells_of
from diffatlas.bench.tasks import Pack, faults
from diffatlas.errors import DiffAtlasError
from diffatlas.library import format as layout
from diffatlas.library.claimed import is_alive, this_process
from diffatlas.library.shelf import BENCHES, Shelf, as_json, given_title, must, plain_text
from diffatlas.library.study import STATUSES, Cell, Lane, Study, cell_key
from diffatlas.params import GenerationParams
from diffatlas.stored_version import check_version

FORMAT_VERSION = 1
PACK, CELLS, VERDICTS, MARKS = "pack.json", "cells.jsonl", "verdicts.jsonl", "marks.jsonl"
#: Bytes of bench.json, and of pack.json.
MOST_BYTES, MOST_PACK = 1_000_000, 32_000_000
#: What a line of cells.jsonl says of a cell.
OUTCOME = ("status", "run_id", "cached", "batched", "seconds", "image", "error")


@dataclass(frozen=True)
class BenchInfo:
    """What a list of benches shows. ``status`` is that of its study, or "damaged" for one that cannot be read."""

    id: str
    title: str
    created: str
    status: str
    pack: str = ""
    #: The name of each lane, or of its model.
    lanes: tuple[str, ...] = ()
    scorers: tuple[str, ...] = ()
    prompts: int = 0
    seeds: int = 0
    #: Images that are to be, and those that are there.
    cells: int = 0
    done: int = 0
    #: Why a damaged one cannot be read.
    error: str | None = None


class Benches(Shelf):
    """Keeps benches in the library folder ``library``."""

    noun, listed_by, place, file = "bench", "`diffatlas bench list`", BENCHES, "bench.json"

    def create(self, bench: Bench) -> None:
        """Write a bench that is new. Raises `BackendFailure` where the disk refuses."""
        folder = self._folder(bench.id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            layout.write_atomically(folder / PACK, pack_text(bench.pack, "json").encode())
            self._write(bench.study, bench.scorers)
        except OSError as error:
            raise self._refused(folder, error) from error

    def save(self, study: Study) -> None:
        """Write what was asked and what became of all cells, each in one rename. Raises `BackendFailure`."""
        folder = self._folder(study.id)
        try:
            self._write(study, None)
            lines = "".join(layout.dumps(_line(cell)) + "\n" for cell in study.cells if _said(cell))
            layout.write_atomically(folder / CELLS, lines.encode())
        except OSError as error:
            raise self._refused(folder, error) from error

    def changed(self, study: Study, cell: str) -> None:
        """Write a bench of which one cell has changed, or, where ``cell`` is empty, its status. Raises as `save`."""
        folder = self._folder(study.id)
        try:
            if not cell:
                self._write(study, None)
            elif (now := study.cell(cell)).status != "running":
                append(folder / CELLS, _line(now))
        except OSError as error:
            raise self._refused(folder, error) from error

    def judge_with(
        self, bench_id: str, scorer: str, card: Card, options: Mapping[str, Any] | None = None
    ) -> None:
        """Say what decides the judgements of a scorer from here on; those of another card count no more.

        options: what it was opened with, and is to be when it goes on. Raises `RunNotFound`, or `BackendFailure`.
        """
        line = {"scorer": scorer, "card": asdict(card), "options": dict(options or {})}
        self._append(bench_id, VERDICTS, line)

    def say(self, bench_id: str, scorer: str, judgements: Mapping[str, Judgement]) -> None:
        """Keep what a scorer says, by the key of the cell. Raises as `judge_with`."""
        self._append(
            bench_id,
            VERDICTS,
            *({"scorer": scorer, "cell": key, "judgement": _plain(one)} for key, one in judgements.items()),
        )

    def mark(self, bench_id: str, cell: str, mark: Mark | None) -> None:
        """Keep what a person says of an image, or take it back. Raises as `judge_with`, and KeyError."""
        self._check_cell(bench_id, cell)
        self._append(bench_id, MARKS, {"cell": cell, "mark": None if mark is None else asdict(mark)})

    def forget(self, bench_id: str, cells: Collection[str]) -> None:
        """Take back all that was said of cells, which are to have another image. Raises as `judge_with`."""
        bench = self.open(bench_id)
        self._append(
            bench_id,
            VERDICTS,
            *(
                {"scorer": scorer, "cell": key, "judgement": None}
                for scorer, said in bench.said.items()
                for key in said
                if key in cells
            ),
        )
        self._append(bench_id, MARKS, *({"cell": key, "mark": None} for key in bench.marks if key in cells))

    def open(self, bench_id: str) -> Bench:
        """Read a bench.

        One that was running in a process that is gone reads as stopped, and so do its cells that were not finished.

        Raises `RunNotFound`, or `DamagedRun` where it cannot be read.
        """
        folder = self._find(bench_id, self._examples)
        with self._reading(folder):
            data = self._read(folder)
            pack = _pack(folder)
            study = _study(data, pack, bench_id)
            study = replace(study, cells=_with_outcomes(study.cells, folder))
            cards, options, said = _verdicts(folder, study)
            marks = _marks(folder, study)
            scorers = tuple(dict.fromkeys([*map(plain_text, data["scorers"]), *cards, HAND]))
        if title := given_title(folder):
            study = replace(study, title=title)
        if study.status == "running" and is_alive(folder, data.get("writer")):
            return Bench(study, pack, scorers, cards, said, marks, options)
        status = "stopped" if study.status == "running" else study.status
        cells = study.cells
        if status != "waiting":
            cells = tuple(replace(one, status="stopped") if one.status == "waiting" else one for one in cells)
        return Bench(replace(study, cells=cells, status=status), pack, scorers, cards, said, marks, options)

    def list(self) -> list[BenchInfo]:
        """Return the benches, newest first; those that cannot be read come last."""
        infos = [self._info(self.folder / name) for name in self._names()]
        return sorted(infos, key=lambda one: (one.status != "damaged", one.created, one.id), reverse=True)

    def _info(self, folder: Path) -> BenchInfo:
        title = given_title(folder)
        try:
            with self._reading(folder):
                data = self._read(folder)
                status = data["status"]
                if status == "running" and not is_alive(folder, data.get("writer")):
                    status = "stopped"
                last = {entry.get("cell"): entry.get("status") for entry in entries(folder / CELLS)}
                lanes = data["lanes"]
                return BenchInfo(
                    id=folder.name,
                    title=title or plain_text(data["title"]),
                    created=plain_text(data["created"]),
                    status=status,
                    pack=plain_text(data["spec"]["pack"]),
                    lanes=tuple(
                        plain_text(one["name"]) or str(data["spec"]["base"]["model"]) for one in lanes
                    ),
                    scorers=tuple(map(plain_text, data["scorers"])),
                    prompts=int(data["prompts"]),
                    seeds=int(data["spec"]["seeds"]),
                    cells=len(lanes) * int(data["prompts"]) * int(data["spec"]["seeds"]),
                    done=sum(status == "complete" for status in last.values()),
                )
        except DiffAtlasError as error:
            return BenchInfo(
                folder.name, title or "A bench that cannot be read", "", "damaged", error=error.message
            )

    def _read(self, folder: Path) -> dict[str, Any]:
        data = files.read_object(folder / self.file, MOST_BYTES, finite=True)
        check_version(data.get("format"), FORMAT_VERSION, f"The bench in {folder.name}")
        must(data["status"] in STATUSES, "its status is none")
        must(isinstance(data["spec"], dict), "it does not say what was asked")
        must(isinstance(data["lanes"], list) and bool(data["lanes"]), "it has no lanes")
        must(isinstance(data["scorers"], list), "it does not say what judges")
        return data

    def _write(self, study: Study, scorers: tuple[str, ...] | None) -> None:
        folder = self._folder(study.id)
        if scorers is None:
            scorers = tuple(files.read_object(folder / self.file, MOST_BYTES)["scorers"])
        data = {
            "format": FORMAT_VERSION,
            **{name: getattr(study, name) for name in ("id", "title", "created", "status")},
            "spec": dict(study.spec),
            "lanes": [{**vars(lane), "changes": dict(lane.changes)} for lane in study.lanes],
            "scorers": list(scorers),
            "prompts": 1 + max(cell.row for cell in study.cells),
        }
        if study.status == "running":
            data["writer"] = this_process()
        layout.write_atomically(folder / self.file, as_json(data))

    def _check_cell(self, bench_id: str, key: str) -> None:
        """Raise KeyError for a cell that a bench does not have; the pack is not read, because marks come quickly."""
        folder = self._find(bench_id)
        with self._reading(folder):
            data = self._read(folder)
            lanes, rows, columns = (
                [one["key"] for one in data["lanes"]],
                data["prompts"],
                data["spec"]["seeds"],
            )
        lane, row, column = ([*key.split("-"), "", "", ""])[:3]
        try:
            known = lane in lanes and int(row) in range(rows) and int(column) in range(columns)
        except ValueError:
            known = False
        if not known or cell_key(lane, int(row), int(column)) != key:
            raise KeyError(key)

    def _append(self, bench_id: str, file: str, *lines: Mapping[str, Any]) -> None:
        folder = self._find(bench_id)
        if lines:
            try:
                append(folder / file, *lines)
            except OSError as error:
                raise self._refused(folder, error) from error


def _said(cell: Cell) -> bool:
    """Whether something is to be said of a cell: nothing of one that waits."""
    return cell.status not in ("waiting", "running")


def _line(cell: Cell) -> dict[str, Any]:
    return {"cell": cell.key, **{name: getattr(cell, name) for name in OUTCOME}}


def _plain(judgement: Judgement) -> dict[str, Any]:
    return {**asdict(judgement), "reasons": list(judgement.reasons), "evidence": dict(judgement.evidence)}


def _pack(folder: Path) -> Pack:
    pack = _valid(adapter(), files.read_object(folder / PACK, MOST_PACK), "its pack")
    for where, what in faults(pack):
        raise ValueError(f"its pack is wrong ({'.'.join(map(str, where))} {what})")
    return pack


def _study(data: dict[str, Any], pack: Pack, bench_id: str) -> Study:
    """Lay out the cells again as `plan_bench` did. Raises for whatever does not fit."""
    must(data["id"] == bench_id, "it has the id of another bench")
    spec = data["spec"]
    base = GenerationParams.from_dict(spec["base"]).validate()
    lanes = [_valid(_of(Lane), one, "a lane") for one in data["lanes"]]
    must(len({lane.key for lane in lanes}) == len(lanes), "its lanes are not told apart")
    must(type(spec["seeds"]) is int and spec["seeds"] > 0, "it has no seeds")
    made = cells_of(pack, base, lanes, spec["seeds"], spec, plain_text(data["title"]))
    return replace(made, id=bench_id, created=plain_text(data["created"]), status=data["status"])


@dataclass(frozen=True)
class _Outcome:
    status: str
    run_id: str | None
    cached: bool
    batched: bool
    seconds: float | None
    image: bool
    error: Mapping[str, Any] | None


def _with_outcomes(cells: tuple[Cell, ...], folder: Path) -> tuple[Cell, ...]:
    last = {entry.get("cell"): entry for entry in entries(folder / CELLS)}
    found = []
    for cell in cells:
        entry = last.get(cell.key)
        if entry is not None:
            of = _valid(_of(_Outcome), {name: entry.get(name) for name in OUTCOME}, f"the cell {cell.key}")
            must(of.status in STATUSES, f"the cell {cell.key} has no status")
            must(of.run_id is None or layout.is_run_id(of.run_id), f"the cell {cell.key} names no run")
            cell = replace(cell, **vars(of))
        found.append(cell)
    return tuple(found)


def _verdicts(
    folder: Path, study: Study
) -> tuple[dict[str, Card], dict[str, dict[str, Any]], dict[str, dict[str, Judgement]]]:
    """Cards, options and judgements by the name of the scorer."""
    known = {cell.key for cell in study.cells}
    cards: dict[str, Card] = {}
    options: dict[str, dict[str, Any]] = {}
    said: dict[str, dict[str, Judgement]] = {}
    for entry in entries(folder / VERDICTS):
        scorer, cell = plain_text(entry.get("scorer")), entry.get("cell")
        if "card" in entry:
            card = _valid(_of(Card), entry["card"], "what judged")
            if cards.get(scorer) != card:
                said[scorer] = {}
            cards[scorer] = card
            options[scorer] = dict(entry.get("options") or {})
        elif cell in known:
            own = said.setdefault(scorer, {})
            own.pop(cell, None)
            if entry["judgement"] is not None:
                own[cell] = _valid(_of(Judgement), entry["judgement"], f"what is said of {cell}")
    return cards, options, said


def _marks(folder: Path, study: Study) -> dict[str, Mark]:
    known = {cell.key for cell in study.cells}
    marks: dict[str, Mark] = {}
    for entry in entries(folder / MARKS):
        cell = entry.get("cell")
        if cell in known:
            marks.pop(cell, None)
            if entry["mark"] is not None:
                marks[cell] = _valid(_of(Mark), entry["mark"], f"the mark of {cell}")
    return marks


@cache
def _of(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _valid(of: TypeAdapter[Any], value: Any, what: str) -> Any:
    try:
        return of.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{what} cannot be read ({where}: {first['msg']})") from None
