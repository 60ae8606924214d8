"""What does a run through the app cost, against the same run in the shell, and how much is sent a step to a program?

The app runs in a process of its own, its model loaded; the shell's run is the one of ``diffatlas trace``, recorded to
disk, its model loaded too. Runs alternate; each round gives one ratio of wall time. Every run is checked: it is
complete, made all its steps, and did not come out of the library. Run from the project's root::

    python -m benchmarks.app_stream
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.rounds import Short, quartiles
from tests.serving import CHROMIUM_FLAGS, find_chromium, served_app

PROMPT = "a red circle to the left of a blue square"
STEPS, SEED, GUIDANCE = 30, 7, 3.0
#: Of the endpoint "/trace", what is not left at its default; "again" runs what the library has already.
ASKED = {
    "model": "shapes",
    "prompt": PROMPT,
    "seed": SEED,
    "steps": STEPS,
    "guidance": GUIDANCE,
    "preview_decoder": "linear",
    "again": True,
}


def shell_run(folder: Path) -> Callable[[], None]:
    """Return a call that does what ``diffatlas trace`` does, its model loaded."""
    from diffatlas import Capture, GenerationParams, Library
    from diffatlas.operations.trace import stream

    library = Library(folder)
    params = GenerationParams(prompt=PROMPT, seed=SEED, num_inference_steps=STEPS, guidance_scale=GUIDANCE)

    def run() -> None:
        events = list(stream(params, Capture(previews="every"), library=library, reuse=False))
        assert events[-1].kind == "finished", events[-1]

    return run


def client_run(address: str) -> Callable[[], None]:
    """Return a call that runs the app's endpoint with `gradio_client`."""
    from gradio_client import Client

    client = Client(address, verbose=False)

    def run() -> None:
        check(list(client.submit(**ASKED, api_name="/trace"))[-1])

    return run


def check(value: dict[str, Any]) -> None:
    """Raise RuntimeError unless the last value of a run is that of a complete one, made for it."""
    if value["status"] != "complete" or len(value["steps"]) != STEPS or value["cached"]:
        told = value["error"] or ("it came out of the library" if value["cached"] else "")
        raise RuntimeError(f"The run is {value['status']} after {len(value['steps'])} steps: {told}")


def inputs_of(address: str) -> list[Any]:
    """Return all inputs of "/trace" in their order: those of `ASKED`, the others at their defaults."""
    import httpx

    info = httpx.get(f"{address}gradio_api/info", timeout=60).json()
    parameters = info["named_endpoints"]["/trace"]["parameters"]
    unknown = set(ASKED) - {one["parameter_name"] for one in parameters}
    if unknown:
        raise RuntimeError(f"The endpoint has no {', '.join(sorted(unknown))}.")
    return [ASKED.get(one["parameter_name"], one.get("parameter_default")) for one in parameters]


def sent_bytes(address: str) -> tuple[int, int]:
    """Bytes of the event stream that a program receives for one run: before the last message, and the last."""
    import httpx

    config = httpx.get(f"{address}config", timeout=30).json()
    index = next(d["id"] for d in config["dependencies"] if d["api_name"] == "trace")
    session = "benchmark"
    body = {"data": inputs_of(address), "fn_index": index, "session_hash": session}
    httpx.post(f"{address}gradio_api/queue/join", json=body, timeout=30).raise_for_status()
    growing = 0
    with httpx.stream(
        "GET", f"{address}gradio_api/queue/data", params={"session_hash": session}, timeout=120
    ) as reply:
        for line in reply.iter_lines():
            if not line.startswith("data:"):
                continue
            message = json.loads(line[5:])
            if message["msg"] == "process_completed":
                if not message["success"]:
                    raise RuntimeError(f"The run failed: {message['output']}")
                check(message["output"]["data"][0])
                return growing, len(line)
            growing += len(line) + 2
    raise RuntimeError("The stream ended before the run did.")


@contextmanager
def browser_run(address: str) -> Iterator[Callable[[], None] | None]:
    """Yield a call that presses Run in headless Chromium with software rendering and waits for the end."""
    from playwright.sync_api import sync_playwright

    chromium = find_chromium()
    if chromium is None:
        print("No Chromium was found: the browser is left out.")
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        page.fill("#field-prompt :is(input, textarea)", PROMPT)
        page.fill("#field-seed input", str(SEED))
        page.fill("#field-num_inference_steps input", str(STEPS))
        page.click(".da-page-trajectory .da-fold:not(.da-from-picture) > button")
        page.check("#field-again input")

        def run() -> None:
            page.click("#field-run")
            for status in ("running", "complete"):
                page.wait_for_selector(f".da-viewer[data-status={status}]", timeout=120_000)
            frames, told = page.locator(".da-film .da-shot img").count(), page.inner_text(".da-status")
            if frames != STEPS or "library" in told:
                raise RuntimeError(f"The page shows {frames} frames of {STEPS}: {told}")

        yield run
        browser.close()


def main(rounds: Annotated[int, typer.Option(help="Pairs of runs.")] = 7, short: Short = False) -> None:
    """Print the ratios and the bytes."""
    rounds = 1 if short else rounds
    with tempfile.TemporaryDirectory() as name, served_app(Path(name) / "app") as address:
        shell, client = shell_run(Path(name) / "shell"), client_run(address)
        with browser_run(address) as browser:
            ways: dict[str, Callable[[], Any]] = {"gradio_client": client}
            if browser:
                ways["headless Chromium, software rendering"] = browser
            for warm in (shell, *ways.values()):
                warm()
            print("| way | wall time, of the shell's (median) | quartiles |\n|---|---|---|")
            for label, way in ways.items():
                ratios = []
                for i in range(rounds):
                    spent = {}
                    for run in (shell, way) if i % 2 else (way, shell):
                        start = time.perf_counter()
                        run()
                        spent[run] = time.perf_counter() - start
                    ratios.append(spent[way] / spent[shell])
                low, median, high = quartiles(ratios)
                print(f"| {label} | {median:.2f} | {low:.2f} to {high:.2f} |", flush=True)
        growing, last = sent_bytes(address)
        print(f"\nsent to a program while it grows: {growing / STEPS:.0f} bytes a step")
        print(f"sent again whole at the end: {last} bytes, {(growing + last) / STEPS:.0f} a step in all")


if __name__ == "__main__":
    typer.run(main)
