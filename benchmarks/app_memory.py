"""Does the server's memory stay flat: by the run with one visitor, and by the minute with several who come and go?

The app runs shared in a process of its own, without a browser. First one visitor runs again and again, each run in a
tab of its own that is closed after it: the slope of the resident memory over the second half is what a run leaves
behind. Then so many visitors run, leave while something runs, and read what they have made, for some minutes, and
leave: the slope over the last half, and what is still held some minutes later, against the server after its first run.
Run from the project's root; ``--short`` takes seconds, which says whether it works and little of the slope::

    python -m benchmarks.app_memory
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import psutil
import typer

from benchmarks.rounds import Short
from tests.serving import served_app
from tests.visitors import Visitor

STEPS = 15


def listening_at(port: int) -> psutil.Process:
    """Return the process that serves at a port of this machine."""
    return next(
        psutil.Process(one.pid)
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port
    )


def resident(server: psutil.Process) -> float:
    """Return the server's resident memory, in MB."""
    return server.memory_info().rss / 2**20


def slope(times: list[float], values: list[float]) -> float:
    """Return how much values grow by the unit of times, over the last half of them."""
    half = len(values) // 2
    return statistics.linear_regression(times[half:], values[half:]).slope


def one_visitor(address: str, server: psutil.Process, runs: int) -> float:
    """Return the MB that a run leaves behind."""
    visitor, held = Visitor(address), []
    for seed in range(runs):
        *_, last = visitor.stream("trace", prompt="a red circle", seed=seed, steps=STEPS)
        if last["status"] != "complete":
            raise RuntimeError(f"The run is {last['status']}: {last['error']}")
        held.append(resident(server))
    return slope([float(k) for k in range(runs)], held)


def visit(address: str, number: int, until: float) -> int:
    """One visitor: runs, some of which are left alone, and what is read of them. Returns how many were completed."""
    rng, visitor, completed = random.Random(number), Visitor(address), 0
    while time.monotonic() < until:
        steps, leaves = rng.randint(10, 30), rng.random() < 0.2
        last = None
        for last in visitor.stream("trace", prompt="a red circle", seed=rng.randrange(10**6), steps=steps):
            if leaves and len(last["steps"]) > 5:
                break
        if not leaves:
            if last is None or last["status"] != "complete":
                raise RuntimeError(
                    f"A run of visitor {number} did not come to its end: {last and last['error']}"
                )
            completed += 1
            run = last["run"]["id"]
            visitor.call("viewer", "run_data", id=run)
            visitor.call("viewer", "project", ids=[run])
            visitor.call("library", "export", ids=[run], kind=rng.choice(["csv", "json", "png"]))
        time.sleep(rng.random())
    return completed


def many_visitors(
    address: str, server: psutil.Process, visitors: int, minutes: float
) -> tuple[float, float, int]:
    """Return the MB that the server grows by in a minute, those of the whole last half, and the completed runs."""
    until = time.monotonic() + 60 * minutes
    times, held = [], []
    with ThreadPoolExecutor(visitors) as pool:
        visits = [pool.submit(visit, address, k, until) for k in range(visitors)]
        while time.monotonic() < until:
            time.sleep(min(2.0, 60 * minutes / 10))
            times.append(time.monotonic() / 60)
            held.append(resident(server))
        completed = sum(one.result() for one in visits)
    a_minute = slope(times, held)
    return a_minute, a_minute * minutes / 2, completed


def main(
    runs: Annotated[int, typer.Option(help="Runs of the one visitor.")] = 200,
    visitors: Annotated[int, typer.Option(help="Visitors at once.")] = 6,
    minutes: Annotated[float, typer.Option(help="How long they stay.")] = 3.0,
    after: Annotated[float, typer.Option(help="Minutes after they left.")] = 5.0,
    short: Short = False,
) -> None:
    """Print what a run leaves behind, what the server grows by in a minute, and what it holds afterwards."""
    if short:
        runs, visitors, minutes, after = 4, 2, 0.1, 0.01
    with (
        tempfile.TemporaryDirectory() as folder,
        served_app(Path(folder), DIFFATLAS_MODE="shared") as address,
    ):
        server = listening_at(urlsplit(address).port)
        list(Visitor(address).stream("trace", prompt="a red circle", steps=STEPS))
        fresh = resident(server)
        print(f"after the first run:           {fresh:7.0f} MB", flush=True)
        print(f"{runs} runs of one visitor: {one_visitor(address, server, runs):7.2f} MB a run", flush=True)
        a_minute, half, completed = many_visitors(address, server, visitors, minutes)
        print(f"{visitors} visitors for {minutes:g} minutes, runs made: {completed}")
        print(f"growth of the last half:       {a_minute:7.1f} MB a minute, {half:.0f} MB", flush=True)
        print(f"when they left:                {resident(server):7.0f} MB", flush=True)
        time.sleep(60 * after)
        print(f"{after:g} minutes later:               {resident(server):7.0f} MB", flush=True)


if __name__ == "__main__":
    typer.run(main)
