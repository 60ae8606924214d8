"""Can thirty people begin a workshop at once: how soon has each the page, the first frame, the image, the attention?

The app serves the workshop of docs/workshop.yaml in a process of its own. Every visitor comes at a random moment of the
first seconds, and does over HTTP what a browser does: fetches the page, its script and the app's configuration, runs
the first preset, follows its steps, runs a prompt of their own, and asks what the words of the preset looked at. What
it takes is told in median and 95th percentile; a request that fails ends the benchmark with its error. ``--plain`` does
the same on a shared server that holds no workshop.
Run from the project's root::

    python -m benchmarks.workshop
"""

from __future__ import annotations

import os
import random
import re
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from benchmarks.rounds import Short
from diffatlas.ui.workshop.reading import read_workshop
from tests.serving import ROOT, served_app
from tests.visitors import Visitor

WORKSHOP = ROOT / "docs" / "workshop.yaml"
#: Said of each visitor's own prompt, so that all are different.
COLOURS, SHAPES = (
    ("red", "green", "blue", "yellow", "purple", "orange"),
    ("circle", "square", "triangle", "star", "ring"),
)


@dataclass
class Times:
    """Seconds of one visitor, from when they came; of their own prompt from when it was asked for."""

    page: float = 0.0
    first_frame: float = 0.0
    image: float = 0.0
    attention: float = 0.0
    own_told: float = 0.0
    own_image: float = 0.0
    #: Bytes of the page, as they travelled.
    bytes: int = field(default=0)


def visit(address: str, number: int, comes: float, own: bool) -> Times:
    """Come after ``comes`` seconds, and do what a visitor does."""
    time.sleep(comes)
    preset = read_workshop(WORKSHOP).presets.trajectory[0]
    asked = {"prompt": preset.prompt, "seed": preset.seed, "steps": 20}
    times, began = Times(), time.monotonic()
    with httpx.Client(base_url=address, timeout=300, headers={"accept-encoding": "gzip"}) as http:
        page = http.get("")
        page.raise_for_status()
        views = http.get(re.search(r"atlas/[0-9a-f]+/views\.js", page.text)[0])
        views.raise_for_status()
        times.bytes = page.num_bytes_downloaded + views.num_bytes_downloaded
    visitor = Visitor(address)
    times.page = time.monotonic() - began
    followed(visitor, times, began, asked)
    maps = visitor.call("attention", "attention", id=attended(visitor, asked))
    if not maps.get("steps"):
        raise RuntimeError(f"Visitor {number} was shown no attention: {maps.get('error')}")
    times.attention = time.monotonic() - began
    if own:
        run_own(visitor, number, times)
    return times


def followed(visitor: Visitor, times: Times, began: float, asked: dict[str, Any]) -> None:
    """Run the preset to its image."""
    last: dict[str, Any] = {}
    for last in visitor.stream("trace", **asked):
        if last.get("steps") and not times.first_frame:
            times.first_frame = time.monotonic() - began
    check(last)
    times.image = time.monotonic() - began


def attended(visitor: Visitor, asked: dict[str, Any]) -> str:
    """Return the id of a run of the preset that has attention: what the Attention page runs."""
    *_, last = visitor.stream("attention", **asked)
    check(last)
    return last["run"]["id"]


def run_own(visitor: Visitor, number: int, times: Times) -> None:
    """Run a prompt that nobody else runs, which takes a turn, and note when something was told of it."""
    rng = random.Random(number)
    prompt = f"a {rng.choice(COLOURS)} {rng.choice(SHAPES)}"
    began = time.monotonic()
    last: dict[str, Any] = {}
    for told in visitor.stream("trace", prompt=prompt, seed=1000 + number, steps=20):
        last, times.own_told = told, times.own_told or time.monotonic() - began
    check(last)
    times.own_image = time.monotonic() - began


def check(last: dict[str, Any]) -> None:
    """Raise RuntimeError for a run that did not come to its end."""
    if last.get("status") != "complete":
        raise RuntimeError(f"A run is {last.get('status')}: {last.get('error')}")


def percentile(values: list[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile."""
    if len(values) < 2:
        return values[0], values[0]
    return statistics.median(values), statistics.quantiles(values, n=20, method="inclusive")[-1]


def ready(log: Path, seconds: float = 600) -> None:
    """Wait until the server has said that it has run its presets."""
    until = time.monotonic() + seconds
    while "presets of the workshop are ready" not in log.read_text() and time.monotonic() < until:
        time.sleep(0.5)


def main(
    visitors: Annotated[int, typer.Option(help="How many come.")] = 30,
    within: Annotated[float, typer.Option(help="Seconds within which they come.")] = 10.0,
    own: Annotated[bool, typer.Option(help="Whether each also runs a prompt of their own.")] = True,
    plain: Annotated[bool, typer.Option(help="A shared server without a workshop.")] = False,
    short: Short = False,
) -> None:
    """Print median and 95th percentile of what the visitors wait for."""
    if short:
        visitors, within, own = 2, 0.1, False
    held = {} if plain else {"DIFFATLAS_WORKSHOP": str(WORKSHOP)}
    with (
        tempfile.TemporaryDirectory() as folder,
        served_app(Path(folder), DIFFATLAS_MODE="shared", **held) as address,
    ):
        if plain:
            # The model is loaded before anybody comes, as it is where presets were run.
            list(Visitor(address).stream("trace", prompt="a red circle", steps=20))
        else:
            ready(Path(folder) / "log.txt")
        print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        rng = random.Random(0)
        with ThreadPoolExecutor(visitors) as pool:
            came = [
                pool.submit(visit, address, number, rng.uniform(0, within), own) for number in range(visitors)
            ]
            times = [one.result() for one in came]
        print(f"load after:  {os.getloadavg()[0]:.1f}")
        for one in fields(Times):
            median, most = percentile([getattr(each, one.name) for each in times])
            unit = "kB" if one.name == "bytes" else "s"
            scale = 1e3 if one.name == "bytes" else 1.0
            print(
                f"{one.name.replace('_', ' '):12} median {median / scale:7.1f} {unit}, 95 % {most / scale:7.1f} {unit}"
            )


if __name__ == "__main__":
    typer.run(main)
