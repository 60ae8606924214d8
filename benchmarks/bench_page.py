"""How soon is a large bench there: 553 prompts with 4 seeds and two scorers, opened from the shelf?

A library with made-up runs, one picture each, and verdicts drawn at random. First the server's part is timed in this
process, its answers held against what was stored; then the page in a real Chromium, from the address of the bench until
the pictures of the first cards are there, and from a jump to the end of the grid until those of the last are. Run from
the project's root::

    python -m benchmarks.bench_page
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import typer

from benchmarks.rounds import Short, quartiles
from diffatlas.bench.bench import Bench
from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.kept import Benches
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.bench.plan import plan_bench
from diffatlas.library import Library
from diffatlas.params import GenerationParams
from diffatlas.run import Run, new_run_id, timestamp
from diffatlas.ui.bench_services import BenchServices
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_benches import LiveBenches
from diffatlas.ui.study_services import Running
from diffatlas.ui.wire import bench as wire
from diffatlas.ui.wire.kinds import One
from tests.serving import CHROMIUM_FLAGS, find_chromium, served_app

PROMPTS, SEEDS, SCORERS = 553, 4, ("objects", "clip")
VISITOR = "visitor"
#: Whether as many cards of the grid as fit have their pictures, and the one of this key is among them.
THERE = """(key) => {
  const cards = [...document.querySelectorAll(".da-page-bench .da-card:not([hidden])")];
  const box = document.querySelector(".da-bench-roll")?.getBoundingClientRect();
  if (!box || !cards.some((card) => card.dataset.cell === key)) return false;
  const seen = cards.filter((card) => {
    const { top, bottom } = card.getBoundingClientRect();
    return top < box.bottom && bottom > box.top;
  });
  return seen.length > 2 && seen.every((card) => card.querySelector("img").src && !card.querySelector("img").hidden);
}"""


def main(rounds: int = 5, short: Short = False) -> None:
    """Print the seconds of the server's answers, and those until the cards are on the page."""
    rounds, prompts = (1, 8) if short else (rounds, PROMPTS)
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder) / "runs")
        bench = made_up(library, prompts)
        print(f"{len(bench.study.cells):,} images, {len(SCORERS)} scorers")
        for name, seconds in server(library, bench, rounds).items():
            print(f"{name}: {words(seconds)} s, {max(seconds):.2f} at most")
        for name, seconds in page(Path(folder), bench, rounds).items():
            print(f"{name}: {words(seconds)} s")


def words(values: list[float]) -> str:
    """Return the median of the rounds, and the quartiles beside it."""
    low, median, high = quartiles(values)
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def made_up(library: Library, prompts: int) -> Bench:
    """Store a bench of so many prompts whose images are runs of one picture each."""
    pack, more = shipped_pack("geneval-form", 80), shipped_pack("spatial", 80, seed=1)
    tasks = (*pack.tasks, *(replace(task, id=f"more-{task.id}") for task in more.tasks))
    pack = replace(pack, tasks=tasks[:prompts])
    params = GenerationParams(model="shapes", prompt="-", seed=0, num_inference_steps=2)
    bench = plan_bench(pack, params, seeds=SEEDS, scorers=SCORERS)
    draw = np.random.default_rng(0)
    cells = []
    for cell in bench.study.cells:
        pixels = draw.integers(0, 255, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        run = Run(new_run_id(), cell.params, "complete", timestamp(), images=(pixels,), seconds=0.1)
        library.save(run)
        cells.append(replace(cell, status="complete", run_id=run.id, seconds=0.1))
    benches = Benches(library.folder)
    benches.create(bench)
    benches.save(replace(bench.study, cells=tuple(cells), status="complete"))
    for scorer in SCORERS:
        benches.judge_with(bench.id, scorer, Card(scorer, "Made up."))
        passed = draw.random(len(cells)) < 0.6
        said = [verdict(bool(right), draw) for right in passed]
        benches.say(bench.id, scorer, {cell.key: one for cell, one in zip(cells, said, strict=True)})
    return benches.open(bench.id)


def verdict(right: bool, draw: np.random.Generator) -> Judgement:
    """Return a judgement with as much evidence as a detector leaves."""
    boxes = draw.uniform(0, 64, (3, 4)).round(2).tolist()
    seen = {"objects": [{"class": "dog", "box": box, "score": 0.9} for box in boxes]}
    return (
        Judgement("pass", evidence=seen)
        if right
        else Judgement("fail", ("expected dog>=1, found 0",), evidence=seen)
    )


def server(library: Library, bench: Bench, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each answer; in each round nothing is known yet. Raises where one is not as stored."""
    took: dict[str, list[float]] = {}

    def timed(name: str, ask: Callable[[str, Any], Any], asked: Any) -> Any:
        began = time.perf_counter()
        answer = ask(VISITOR, asked)
        took.setdefault(name, []).append(time.perf_counter() - began)
        return answer

    keys = [cell.key for cell in bench.study.cells]
    stored = {name: {key: one.verdict for key, one in said.items()} for name, said in bench.said.items()}
    for _ in range(rounds):
        libraries = Libraries(library.folder)
        services = BenchServices(libraries, Layers(libraries), {}, Running(), LiveBenches())
        whole = timed("the bench whole", services.bench, One(id=bench.id))
        for name, verdicts in stored.items():
            if {key: cell["said"][name][0] for key, cell in whole["cells"].items()} != verdicts:
                raise RuntimeError("What was opened is not what was stored.")
        first = keys[:48]
        thumbs = timed("48 thumbnails", services.thumbs, wire.Cards(id=bench.id, cells=first))["thumbs"]
        if set(thumbs) != set(first) or not all(thumbs.values()):
            raise RuntimeError("Pictures are missing.")
        numbers = timed("the numbers", services.results, wire.NumbersAsked(id=bench.id, by_hand=False))
        for table in (one for one in numbers["tables"] if one["scorer"] in stored):
            passed = sum(verdict == "pass" for verdict in stored[table["scorer"]].values())
            lines = [(float(line["cells"][0]), int(line["cells"][3])) for line in table["lines"]]
            # Each rate has two decimals.
            if abs(sum(rate * images for rate, images in lines) - passed) > 0.005 * len(keys) + 1e-6:
                raise RuntimeError("The numbers are not those of the verdicts.")
        timed("a mark", services.mark_card, wire.MarkAsked(id=bench.id, cell=keys[-1], verdict="fail"))
    print(f"the bench whole: {len(json.dumps(whole)) / 1e3:.1f} kB")
    return took


def page(folder: Path, bench: Bench, rounds: int) -> dict[str, list[float]]:
    """Return the seconds until cards are on the page. Raises where they do not come."""
    from playwright.sync_api import sync_playwright

    took: dict[str, list[float]] = {"the first cards": [], "from the first to the last": []}
    last = bench.study.cells[-1].key
    with served_app(folder) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        for number in range(rounds + 1):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            tab = context.new_page()
            tab.add_init_script('sessionStorage.setItem("diffatlas-bench-view", "cards")')
            began = time.perf_counter()
            tab.goto(f"{url}?page=bench&bench={bench.id}")
            tab.wait_for_function(THERE, arg="a-0-0", polling=50, timeout=60_000)
            first = time.perf_counter() - began
            began = time.perf_counter()
            tab.eval_on_selector(".da-bench-roll", "(box) => { box.scrollTop = box.scrollHeight; }")
            tab.wait_for_function(THERE, arg=last, polling=50, timeout=60_000)
            # The first visit is the server's own first time.
            if number:
                took["the first cards"].append(first)
                took["from the first to the last"].append(time.perf_counter() - began)
            context.close()
        browser.close()
    return took


if __name__ == "__main__":
    typer.run(main)
