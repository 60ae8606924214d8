"""What does a run of another Atlas take beyond the same run here, and how many bytes are sent for it?

The other Atlas is a process on this machine (`diffatlas serve`). Local and remote runs alternate; each round gives one
ratio of wall-clock time and one of CPU time, that of both processes against that of this one, and the medians of the
rounds are reported with their quartiles. Bytes are those of the events as they are, and packed, which is what a client
asks for whose Atlas is on another machine. Each run has to be complete, with every step, and none may come from a
library. Run from the project's root, on a machine that does nothing else::

    OMP_NUM_THREADS=1 python -m benchmarks.remote_overhead
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import psutil
import typer

from benchmarks.rounds import Short, quartiles
from diffatlas import Capture, GenerationParams
from diffatlas.backends import open_backend, wire
from diffatlas.backends.remote.protocol import event_frame
from diffatlas.events import Event, Finished, Started, Step

CAPTURES = {
    "latents, predictions, previews": Capture(previews="every"),
    "and attention to words": Capture(previews="every", attention="cross"),
    "and attention between places": Capture(previews="every", attention="all"),
}
PROMPT = "a red circle to the left of a blue square"


@contextmanager
def another() -> Iterator[tuple[str, psutil.Process]]:
    """Start another Atlas on a free port; yield its address and its process."""
    arguments = [sys.executable, "-m", "diffatlas", "serve", "--port", "0"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stderr.readline()
            yield said.partition(" at ")[2].partition(": ")[0], psutil.Process(process.pid)
        finally:
            process.terminate()


def run(backend: Any, params: GenerationParams, capture: Capture) -> list[Event]:
    """Return the events of a run. Raises AssertionError where it is not whole, or was made before."""
    events = list(backend.trace(params, capture))
    assert isinstance(events[0], Started), events
    assert events[0].cached_from is None
    assert isinstance(events[-1], Finished), events[-1]
    assert events[-1].status == "complete"
    assert sum(isinstance(event, Step) for event in events) == params.num_inference_steps
    return events


def cpu_of(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU seconds of processes up to now."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main(
    rounds: Annotated[int, typer.Option(help="Pairs of runs.")] = 15,
    steps: Annotated[int, typer.Option(help="Denoising steps of a run.")] = 30,
    model: Annotated[str, typer.Option(help="A model of the list.")] = "shapes",
    short: Short = False,
) -> None:
    """Print a table of ratios."""
    captures = dict(CAPTURES)
    if short:
        rounds, steps, captures = 1, 3, dict(list(CAPTURES.items())[:1])
    params = GenerationParams(model=model, prompt=PROMPT, num_inference_steps=steps)
    here, seen = open_backend("local"), set()
    print("| captured | packed | wall ratio | quartiles | CPU ratio | quartiles | kB a run | packed to |")
    print("|---" * 8 + "|")
    with another() as (url, process):
        own = psutil.Process()
        for name, capture in captures.items():
            events = run(here, params, capture)
            answers = [wire.answer_to_bytes(0, event) for event in events]
            size = sum(len(event_frame(answer, False)) for answer in answers)
            packed = sum(len(event_frame(answer, True)) for answer in answers)
            for packing in (False, True):
                there = open_backend("remote", url=url, packing=packing)
                run(there, params, capture)
                walls, cpus = [], []
                for number in range(rounds):
                    spent = {}
                    for backend in (here, there) if number % 2 else (there, here):
                        wall, cpu = time.perf_counter(), cpu_of((own, process))
                        ran = run(backend, params.replace(seed=number), capture)
                        spent[backend] = time.perf_counter() - wall, cpu_of((own, process)) - cpu
                        seen.add(ran[0].run_id)
                    walls.append(spent[there][0] / spent[here][0])
                    cpus.append(spent[there][1] / max(spent[here][1], 0.01))
                (l1, m1, h1), (l2, m2, h2) = quartiles(walls), quartiles(cpus)
                print(
                    f"| {name} | {'yes' if packing else 'no'} | {m1:.2f} | {l1:.2f} to {h1:.2f} | {m2:.2f} | "
                    f"{l2:.2f} to {h2:.2f} | {size / 1000:.0f} | {packed / size:.2f} |",
                    flush=True,
                )
                there.close()
        assert len(seen) == len(captures) * 2 * rounds * 2


if __name__ == "__main__":
    typer.run(main)
