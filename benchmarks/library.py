"""How long does a library of ten thousand runs take to list and to search?

Small synthetic runs: each has its manifest, four steps without arrays, and for some of them marks. Prompts are drawn
from a vocabulary, so that a word is in many of them and two words in few. Run from the project's root::

    python -m benchmarks.library
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.rounds import Short
from diffatlas.params import GenerationParams

# fmt: off
WORDS = (
    "red", "blue", "green", "yellow", "circle", "square", "triangle", "star", "left", "right",
    "above", "below", "small", "large", "watercolour", "photograph", "portrait", "landscape",
    "forest", "harbour", "river", "mountain", "lamp", "window", "table", "chair", "cat", "dog",
    "heron", "violin", "clock",
)
# fmt: on
TAGS = ("paper", "draft", "seminar", "figure 3", "rejected")
MODELS = ("shapes", "stabilityai/sdxl-turbo", "stable-diffusion-v1-5/stable-diffusion-v1-5")


def fill(folder: Path, runs: int) -> None:
    """Write ``runs`` run folders, as the library writes them but without arrays."""
    rng = random.Random(0)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(runs):
        moment = began + timedelta(minutes=7 * number)
        run_id = f"{moment:%Y%m%d-%H%M%S}-{number:08x}"
        params = GenerationParams(
            model=rng.choice(MODELS),
            prompt="a " + " ".join(rng.sample(WORDS, rng.randint(4, 12))),
            seed=rng.randrange(2**32),
            num_inference_steps=rng.choice((20, 30, 50)),
            scheduler=rng.choice(("ddim", "euler", "dpm++_2m")),
            width=512,
            height=512,
        )
        manifest = {
            "format": 1,
            "id": run_id,
            "status": rng.choices(("complete", "stopped", "failed"), (90, 7, 3))[0],
            "created": moment.isoformat(timespec="milliseconds"),
            "params": params.to_dict(),
            "initial_sigma": 14.6,
            "total_steps": params.num_inference_steps,
            "provenance": {"versions": {"torch": "2.13.0"}, "dtype": "float32", "device": "cpu"},
            "capture": {"latents": True, "previews": "every"},
            "steps": 4,
            "cosine_to_end": [0.1, 0.4, 0.8, 1.0],
        }
        run = folder / run_id
        run.mkdir()
        (run / "manifest.json").write_text(json.dumps(manifest, indent=1))
        line = {"index": 0, "timestep": 1.0, "sigma": 1.0, "metrics": {}, "arrays": [], "previews": 0}
        (run / "steps.jsonl").write_text("".join(json.dumps({**line, "index": i}) + "\n" for i in range(4)))
        if number % 10 == 0:
            marks = {
                "name": f"Run {number}",
                "tags": rng.sample(TAGS, 2),
                "note": " ".join(rng.choices(WORDS, k=40)),
                "locked": number % 20 == 0,
            }
            (run / "marks.json").write_text(json.dumps(marks))


def timed(call: Callable[[], Any], rounds: int) -> tuple[list[float], Any]:
    """Return milliseconds of each call, and what the last one returned."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = call()
        times.append(1000 * (time.perf_counter() - began))
    return times, answer


def report(label: str, times: list[float], found: Any = "") -> None:
    """Print one line."""
    print(f"  {label:46s} median {statistics.median(times):8.1f} ms, worst {max(times):8.1f} ms   {found}")


def main(
    runs: Annotated[int, typer.Option(help="Runs in the library.")] = 10_000,
    rounds: Annotated[int, typer.Option(help="Calls of each kind.")] = 15,
    short: Short = False,
) -> None:
    """Print what listing and searching cost: an index to make first, in a process new to it, and after that."""
    from diffatlas.library import Library

    if short:
        runs, rounds = 60, 1
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        fill(folder, runs)
        print(f"{runs} runs")
        times, found = timed(Library(folder).list, 1)
        if len(found) != runs:
            raise RuntimeError(f"The library lists {len(found)} of {runs} runs.")
        report("list, making the index", times, f"{len(found)} runs")
        times, _ = timed(lambda: Library(folder).list(), rounds)
        report("list, first call of a process", times)
        library = Library(folder)
        times, _ = timed(library.list, rounds)
        report("list", times)
        times, _ = timed(lambda: Library(folder).search(), rounds)
        report("a page of 100, first call of a process", times)
        times, _ = timed(library.search, rounds)
        report("a page of 100", times)
        for label, asked in (
            ("search 'heron'", {"text": "heron"}),
            ("search 'viol cat'", {"text": "viol cat"}),
            ("search 'a'", {"text": "a"}),
            ("search by model, tag and date", {"model": "shapes", "tags": ["paper"], "since": "2026-01-05"}),
            ("search 'clock', sorted by name", {"text": "clock", "sort": "name"}),
            ("search 'heron', all of them", {"text": "heron", "limit": None}),
        ):
            times, answer = timed(lambda asked=asked: library.search(**asked), rounds)
            report(label, times, f"{answer.total} found")
        times, _ = timed(library.refresh, rounds)
        report("refresh: every run's files looked at", times)
        one = library.list()[runs // 2].id
        times, _ = timed(lambda: library.mark(one, note="again"), rounds)
        report("mark", times)
        times, _ = timed(library.usage, rounds)
        report("usage", times)
        times, _ = timed(library.rebuild, 1)
        report("rebuild", times)


if __name__ == "__main__":
    typer.run(main)
