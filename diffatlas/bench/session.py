"""A bench from a notebook or the shell: asked for in one call, made, judged and kept in the library."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffatlas.bench.bench import HAND, Bench, first_scorer, judged
from diffatlas.bench.judgements import Judged
from diffatlas.bench.judging import ScorerChanged
from diffatlas.bench.keep import capture_of
from diffatlas.bench.kept import Benches, BenchInfo
from diffatlas.bench.packs.geneval2 import read_score_lists
from diffatlas.bench.packs.own import find_pack
from diffatlas.bench.packs.reading import is_file_name, read_file
from diffatlas.bench.packs.shipped import SHIPPED
from diffatlas.bench.plan import plan_bench
from diffatlas.bench.running import BenchEvent, judge_bench, run_bench
from diffatlas.bench.scored import judged_results
from diffatlas.bench.scorers.shapes import ShapesScorer
from diffatlas.bench.tasks import Pack
from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, InvalidParams, Unreadable
from diffatlas.params import GenerationParams
from diffatlas.registry import find_model

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.library import Library

#: Is told of each event as it happens.
Told = Callable[[BenchEvent], None]


def ask(
    pack: Pack | Path | str,
    model: str | GenerationParams = "shapes",
    *,
    each: int | None = None,
    pack_seed: int = 0,
    seeds: int = 4,
    scorers: Sequence[str] | str | None = None,
    lanes: Sequence[Mapping[str, Any]] = (),
    exact: bool = False,
    keep: str = "paths",
    backend: str = "local",
    library: Library | None = None,
    **asked: Any,
) -> Bench:
    """Return a bench that is kept in the library and has run nothing yet.

    pack: a `Pack`, its file, or the name of one that is shipped or one's own; of a shipped one ``each`` prompts of each
    category, drawn by ``pack_seed``.
    model: its id, or a request for all of it but the prompt. seeds: images of each prompt, the seed of the request
    first. scorers: their names; None for the one of the shapes where
    it can judge something, else a person alone. lanes, exact: as of `diffatlas.bench.plan.plan_bench`.
    keep: what is kept of each image (`diffatlas.bench.keep.KEEPS`).
    backend: where it runs, but for lanes that name another.
    asked: other fields of `GenerationParams`, such as ``seed``; steps and guidance are the registry's
        for the model else.

    Raises `InvalidParams` for what is wrong, and `Unreadable` for a file that is no pack.
    """
    library = _library(library)
    capture = capture_of(keep)
    found = pack_of(pack, library, each, pack_seed)
    if isinstance(model, str):
        model = GenerationParams(
            **{"seed": 0, **_hints(model, backend), **asked, "model": model, "prompt": ""}
        )
    elif asked:
        raise InvalidParams(f"{next(iter(asked))} is given beside a whole request: say it in that.")
    bench = plan_bench(
        found,
        model,
        seeds=seeds,
        lanes=lanes,
        scorers=scorers_of(found, scorers),
        exact=exact,
        capture=capture,
        backend=backend,
    )
    Benches(library.folder).create(bench)
    return bench


def run(
    pack: Pack | Path | str,
    model: str | GenerationParams = "shapes",
    *,
    told: Told | None = None,
    **options: Any,
) -> Bench:
    """Ask for a bench (see `ask` for ``options``), make its images, judge them, and return it.

    told: is given each event. Cells that fail say so in the bench; of a scorer that fails one is warned. Raises as
    `ask`.
    """
    library = options.get("library") or _library(None)
    return resume(ask(pack, model, **{**options, "library": library}), library=library, told=told)


def resume(
    bench: Bench | str,
    *,
    only: Collection[str] | None = None,
    reuse: bool = True,
    backends: Callable[[str], Backend] | None = None,
    library: Library | None = None,
    told: Told | None = None,
) -> Bench:
    """Make and judge what a bench has not yet, and return it as it is then.

    bench: itself, or its id. only: the keys of the cells to make, again or for the first time. backends: opens one by
    its name; None for those of this process. Of a scorer that fails one is warned. Raises as
    `diffatlas.bench.running.run_bench`.
    """
    library = _library(library)
    bench = open_bench(bench, library) if isinstance(bench, str) else bench
    capture = Capture.from_dict(bench.study.spec.get("capture") or {})
    events = run_bench(bench, backends or _backend, library, capture, only=only, reuse=reuse)
    for words in _follow(events, told):
        warnings.warn(f"{words} `judge` has it judge what is there.", stacklevel=2)
    return open_bench(bench.id, library)


def judge(
    bench: Bench | str,
    *scorers: str,
    again: bool = False,
    library: Library | None = None,
    told: Told | None = None,
    **options: Any,
) -> Bench:
    """Judge the images of a bench by further scorers, or again, without making any; return it as it is then.

    options: of the scorers, such as threshold, device or dtype (`diffatlas.bench.scored.open_scorer`), besides those
    that they judged this bench with before. Raises `InvalidParams` where none is named, and at the end
    `BackendFailure` with what scorers failed with.
    """
    library = _library(library)
    bench = open_bench(bench, library) if isinstance(bench, str) else bench
    if not scorers or HAND in scorers:
        raise InvalidParams("Name scorers to judge by: a person judges by hand.", field="scorer")
    given = {name: value for name, value in options.items() if value is not None}
    failed = _follow(judge_bench(bench, library, scorers, again=again, options=given), told)
    if failed:
        raise BackendFailure(" ".join(failed))
    return open_bench(bench.id, library)


def _follow(events: Generator[BenchEvent, None, None], told: Told | None) -> list[str]:
    """Go through events, and return what scorers failed with."""
    failed = []
    with closing(events):
        for event in events:
            if told is not None:
                told(event)
            if isinstance(event, ScorerChanged) and event.status == "failed":
                failed.append(f"{event.scorer}: {event.message}")
    return failed


def open_bench(bench_id: str, library: Library | None = None) -> Bench:
    """Return a bench of the library. Raises `RunNotFound` or `DamagedRun`."""
    return Benches(_library(library).folder).open(bench_id)


def list_benches(library: Library | None = None) -> list[BenchInfo]:
    """Return the benches of the library, newest first."""
    return Benches(_library(library).folder).list()


def judged_from(
    source: str,
    scorer: str | None = None,
    library: Library | None = None,
    by_hand: bool = True,
    *,
    asked: Pack | Path | str | None = None,
) -> list[Judged]:
    """Return the verdicts of a ``results.jsonl``, of lists of scores of GenEval 2 (``.json``), or of a bench of the
    library: its id, and a lane after "@".

    scorer: of a bench; None for its first (`diffatlas.bench.bench.first_scorer`). by_hand: whether marks by hand count
    in the place of its verdicts. asked: the pack of lists of scores, as of `ask`. Raises `Unreadable`, `RunNotFound` or
    `InvalidParams`.
    """
    path = Path(source)
    if asked is not None and path.suffix != ".json":
        raise InvalidParams("--pack is for lists of scores (.json): others say what was asked.", field="pack")
    if path.suffix in (".json", ".jsonl") or path.is_file():
        if scorer is not None:
            raise InvalidParams(
                "--scorer is for a bench: a file has the verdicts of one scorer.", field="scorer"
            )
        try:
            if path.suffix != ".json":
                return judged_results(path)
            if asked is None:
                raise InvalidParams(
                    f"{path.name} has lists of scores: name their pack by --pack.", field="pack"
                )
            return read_score_lists(path, pack_of(asked, _library(library)))
        except FileNotFoundError:
            raise Unreadable(f"There is no file {path}.") from None
    bench_id, _, lane = source.partition("@")
    bench = open_bench(bench_id, library)
    found = judged(bench, scorer or first_scorer(bench), lane or "a", by_hand)
    if not found:
        raise InvalidParams(
            f"The bench {bench_id} has no images yet: `diffatlas bench resume {bench_id}` makes them."
        )
    return found


def pack_of(pack: Pack | Path | str, library: Library, each: int | None = None, seed: int = 0) -> Pack:
    """Return the pack that `ask` is asked for. Raises as `ask`."""
    if isinstance(pack, Pack):
        return pack
    if isinstance(pack, Path) or is_file_name(pack) or (pack not in SHIPPED and Path(pack).is_dir()):
        if each is not None:
            raise InvalidParams(
                "Prompts of each category are drawn of a pack by name: a file has those that it has.",
                field="each",
            )
        return read_file(pack)
    return find_pack(library.folder, pack, each, seed)


def scorers_of(pack: Pack, scorers: Sequence[str] | str | None) -> tuple[str, ...]:
    """Return the names of the scorers that `ask` is asked for."""
    if scorers is None:
        exact = ShapesScorer()
        return ("shapes",) if any(exact.cannot(task) is None for task in pack.tasks) else (HAND,)
    return (scorers,) if isinstance(scorers, str) else tuple(scorers)


def _hints(model: str, backend: str) -> dict[str, Any]:
    from diffatlas.errors import UnknownModel

    try:
        entry = find_model(model, backend)
    except UnknownModel:
        return {}
    hints = {"num_inference_steps": entry.steps, "guidance_scale": entry.guidance}
    return {name: value for name, value in hints.items() if value is not None}


def _library(library: Library | None) -> Library:
    from diffatlas.library import Library

    return library or Library()


def _backend(name: str) -> Backend:
    from diffatlas.backends import open_backend
    from diffatlas.operations.trace import shared_local_backend

    return shared_local_backend() if name == "local" else open_backend(name)
