"""Do long runs leave the page responsive: how long do they take, what stalls, how soon does Stop end them?

The app runs in a process of its own and the page in headless Chromium with software rendering; both share this
machine's cores with the run, as they do for a visitor on a laptop. Before a case its locked layers are made, of 30
frames each. A run's time is held against the same run in the shell, recorded to disk, its model loaded too, before
and after it. Tasks that hold the page's main thread for over 50 ms are those that the browser reports
(PerformanceObserver); those over `LONG` are flagged. CPU seconds are those of the app and of the browser against those
of the shell's run: they say what a run costs where others use the machine meanwhile. Every run is checked: it made all
its steps, or was stopped before its end, and did not come out of the library. Run from the project's root::

    python -m benchmarks.app_long_runs
    python -m benchmarks.app_long_runs --steps 1000 --layers 2 --layers 20
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.app_stream import GUIDANCE, PROMPT
from benchmarks.rounds import Short
from tests.serving import CHROMIUM_FLAGS, find_chromium, served_app

FRAMES = 30
LONG = 100  # ms
PATIENCE = 600_000  # ms
VIEWER = ".da-page-trajectory .da-viewer"
WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((one) => one.duration)))
  .observe({ type: "longtask" });
"""
# Keeps the statuses that the page shows: a short run may be over before anyone looks.
KEEP = """() => {
  const viewer = document.querySelector(".da-page-trajectory .da-viewer");
  window.statuses = [];
  const watch = new MutationObserver(() => statuses.push(viewer.dataset.status));
  watch.observe(viewer, { attributeFilter: ["data-status"] });
}"""
# Resolves with the last status once it is one of those wanted, or null when that took too long. Playwright's own
# waiting looks at every frame, which has the browser make one.
UNTIL = """([wanted, patience]) => new Promise((resolve) => {
  const viewer = document.querySelector(".da-page-trajectory .da-viewer");
  const end = (status) => {
    watch.disconnect();
    clearTimeout(late);
    resolve(status);
  };
  const look = () => wanted.includes(statuses.at(-1)) && end(statuses.at(-1));
  const watch = new MutationObserver(look);
  const late = setTimeout(() => end(null), patience);
  watch.observe(viewer, { attributeFilter: ["data-status"] });
  look();
})"""


class Shell:
    """Does what ``diffatlas trace`` does, its model loaded."""

    def __init__(self, folder: Path) -> None:
        from diffatlas import Library

        self._library = Library(folder)
        self.run(2, 1)

    def run(self, steps: int, seed: int) -> tuple[float, float]:
        """Return the seconds and the CPU seconds that a run takes."""
        from diffatlas import Capture, GenerationParams
        from diffatlas.operations.trace import stream

        params = GenerationParams(
            prompt=PROMPT, seed=seed, num_inference_steps=steps, guidance_scale=GUIDANCE
        )
        wall, used = time.perf_counter(), time.process_time()
        events = list(stream(params, Capture(previews="every"), library=self._library, reuse=False))
        spent = time.perf_counter() - wall, time.process_time() - used
        if events[-1].kind != "finished" or sum(event.kind == "step" for event in events) != steps:
            raise RuntimeError(f"The run in the shell did not come to its end: {events[-1]}")
        return spent


class Visitor:
    """The Trajectory page in a browser, and what it costs."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.received = 0
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        network.on("Network.dataReceived", self._count)

    def _count(self, event: dict[str, Any]) -> None:
        self.received += event["dataLength"]

    def open(self, address: str) -> None:
        """Open the page with all that a visitor would have unfolded already."""
        self.page.goto(address)
        self.page.wait_for_selector(VIEWER, state="attached")
        self.page.evaluate(KEEP)
        self.page.fill("#field-prompt :is(input, textarea)", PROMPT)
        self.page.click(".da-page-trajectory .da-fold:not(.da-from-picture) > button")
        self.page.check("#field-again input")

    def layers(self, count: int) -> None:
        """Make locked layers until there are ``count``."""
        there = self.page.locator(".da-layer:not(.da-temporary)").count()
        for seed in range(there, count):
            self.begin(FRAMES, 100 + seed)
            self.wait("complete")
            self.page.click(".da-layer.da-temporary .da-lock:not([disabled])")
            self.page.wait_for_selector(".da-layer.da-temporary", state="detached")

    def begin(self, steps: int, seed: int) -> None:
        """Press Run."""
        self.page.fill("#field-seed input", str(seed))
        self.page.fill("#field-num_inference_steps input", str(steps))
        self.page.evaluate("longTasks.length = statuses.length = 0")
        self.received = 0
        self.page.click("#field-run")
        self.wait("running", "complete")

    def wait(self, *wanted: str) -> None:
        """Wait until the run that was begun last shows one of these statuses."""
        found = self.page.evaluate(UNTIL, [[*wanted, "failed"], PATIENCE])
        if found not in wanted:
            raise RuntimeError(f"The run is {found or 'not there'}: {self.told()}")

    def told(self) -> str:
        """What the page says about the run."""
        return self.page.inner_text(".da-status")

    def run(self, steps: int, seed: int) -> tuple[float, float]:
        """Run to the end and return the seconds and the CPU seconds that it took."""
        wall, used = time.perf_counter(), cpu_seconds()
        self.begin(steps, seed)
        self.wait("complete")
        spent = time.perf_counter() - wall, cpu_seconds() - used
        if self.told() != f"Complete: {steps} steps":
            raise RuntimeError(f"The run of {steps} steps ended otherwise: {self.told()}")
        return spent

    def stop(self, steps: int, seed: int) -> tuple[float, int]:
        """Run, click Stop once half of the steps are there, and return the seconds until the end and the steps made."""
        self.begin(steps, seed)
        self.page.wait_for_function(
            f"Number(/Step (\\d+)/.exec(document.querySelector('.da-status').textContent)?.[1]) >= {steps // 2}",
            timeout=PATIENCE,
            polling=100,
        )
        start = time.perf_counter()
        self.page.click("#field-stop", timeout=PATIENCE)
        self.wait("stopped")
        spent = time.perf_counter() - start
        made = re.fullmatch(rf"Stopped after (\d+) of {steps} steps", self.told())
        if made is None:
            raise RuntimeError(f"The run was not stopped: {self.told()}")
        return spent, int(made[1])


def cpu_seconds() -> float:
    """CPU seconds of all processes below this one: the app and the browser."""
    ticks: dict[int, tuple[int, int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks[int(stat.parent.name)] = int(words[1]), int(words[11]) + int(words[12])
    below = {os.getpid()}
    while more := {pid for pid, (parent, _) in ticks.items() if parent in below} - below:
        below |= more
    return sum(ticks[pid][1] for pid in below - {os.getpid()}) / os.sysconf("SC_CLK_TCK")


@contextmanager
def visitor(address: str, chromium: str) -> Iterator[Visitor]:
    """A visitor in a browser of their own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(WATCH)
        guest = Visitor(page)
        guest.open(address)
        yield guest
        browser.close()


def measure(guest: Visitor, shell: Callable[[int, int], tuple[float, float]], steps: int, view: str) -> str:
    """Return one row of the table."""
    guest.page.click(f".da-tab[data-view={view}]")
    seed = 1 + time.time_ns() % 100_000
    before = shell(steps, seed)
    wall, cpu = guest.run(steps, seed)
    after = shell(steps, seed)
    plain, plain_cpu = ((a + b) / 2 for a, b in zip(before, after, strict=True))
    guest.page.wait_for_timeout(1000)
    tasks = guest.page.evaluate("longTasks")
    received = guest.received
    stopped, made = guest.stop(steps, seed)
    over = sum(task > LONG for task in tasks)
    return (
        f"{wall / plain:.2f} ({wall:.1f} s) | {cpu / plain_cpu:.2f} | {len(tasks)} | {max(tasks, default=0):.0f} ms"
        f"{f' ({over} over {LONG})' if over else ''} | {received / steps:.0f} | {stopped:.2f} s (step {made})"
    )


def main(
    steps: Annotated[list[int] | None, typer.Option(help="Steps of a run; 50 and 200 unless given.")] = None,
    layers: Annotated[list[int] | None, typer.Option(help="Locked layers; 2 and 20 unless given.")] = None,
    view: Annotated[list[str] | None, typer.Option(help="film, pca or curves; film unless given.")] = None,
    short: Short = False,
) -> None:
    """Print a row for each case."""
    if short:
        steps, layers = [30], [1]
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit("No Chromium was found.")
    with tempfile.TemporaryDirectory() as name, served_app(Path(name) / "app") as address:
        shell = Shell(Path(name) / "shell")
        with visitor(address, chromium) as guest:
            print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            print(
                "| locked layers | steps | view | time, of the shell's | CPU, of the shell's | tasks over 50 ms ",
                end="",
            )
            print("| longest | bytes a step | from Stop to the end |\n|---|---|---|---|---|---|---|---|---|")
            for locked in sorted(layers or [2, 20]):
                guest.layers(locked)
                for count in steps or [50, 200]:
                    for tab in view or ["film"]:
                        row = measure(guest, shell.run, count, tab)
                        print(f"| {locked} | {count} | {tab} | {row} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
