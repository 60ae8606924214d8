"""What does observing cost on a GPU, at the sizes that people run there?

Pipelines of the sizes of SD 1.5, SDXL and FLUX.1 with random weights (`benchmarks.gpu_pipelines`), the embedded model,
pipelines that are offloaded, tiled or compiled, sweeps of five in one batch; at last how far half precision is from
float32, and whether memory stays flat when models take turns. Plain and observed calls alternate; wall time with the
device drained before and after; a ratio a round, and their median with the lowest and the highest. Each observed call
must have made every step, kept what was asked, and given the plain call's latents bit for bit. Of CUDA also the peak of
the memory that is allocated, of a plain and of an observed call, what the run keeps, and how often a step makes the
host wait.

It ends within ``--seconds``: parts that would not fit are named and left out. A table is printed as it grows, and
written with its rows as JSON into ``--out``. Run from the project's root, on a GPU::

    python -m benchmarks.gpu_cost --out FOLDER

``TINY=1`` goes through it in a minute, small, on whatever device there is, without the benchmarks at the end.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import gpu_pipelines
from benchmarks.gpu_pipelines import Sized
from diffatlas import Capture, GenerationParams, observe
from diffatlas.backends import placement
from diffatlas.backends.placement import Placement
from diffatlas.capture import attention_maps_gpu
from diffatlas.capture.trace import Trace

NOTHING = {"latents": False, "predictions": False, "x0": False, "metrics": False}
#: What is captured -> (how, the ratio that is aimed at).
SETTINGS: dict[str, tuple[Capture, float]] = {
    "latents": (Capture(predictions=False, x0=False, metrics=False), 1.03),
    "all arrays and metrics": (Capture(), 1.03),
    "and linear previews": (Capture(previews="every"), 1.05),
    "words, all layers": (Capture(attention="cross", **NOTHING), 1.10),
    "places, 32 x 32": (Capture(attention="self", **NOTHING), 1.35),
}
PROMPT = "a red circle and a blue square"
SWEEP = (1.0, 4.0, 7.5, 12.0, 18.0)
#: How SD 1.5 is put on the device besides; what only a GPU can, and what any device can.
ON_A_GPU = (Placement(offload="model"), Placement(offload="group"))
ANYWHERE = (Placement(vae=("tiling", "slicing")), Placement(compile="blocks"))
#: Benchmarks of their own that belong to this, with the seconds that they take on a GPU.
BESIDE = {"half_precision": 60, "models_in_turn": 60}
#: Steps of a call, and pairs of calls, by the size of the pipeline.
EFFORT = {"embedded": (30, 9), "sd15": (15, 7), "sdxl": (10, 5), "flux": (6, 3)}
PARTS = (*EFFORT, "sweep", "placed", "beside")


@dataclass
class Row:
    """One line of the table; None where a column says nothing of it. Memory in MB (10^6 bytes)."""

    model: str
    what: str
    plain_ms: float
    ratio: float
    low: float
    high: float
    aim: float
    identical: bool | None = None
    plain_peak: float | None = None
    seen_peak: float | None = None
    kept: float | None = None
    waits: float | None = None
    error: str = ""

    def line(self) -> str:
        """Return it as a line of Markdown."""
        if self.error:
            return f"| {self.model} | {self.what} | {self.error} |" + " |" * 8
        same = "-" if self.identical is None else "yes" if self.identical else "NO"
        cells = [
            f"{self.plain_ms:.1f}",
            f"{self.ratio:.3f}",
            f"{self.low:.3f} to {self.high:.3f}",
            f"{self.aim:.2f}",
            same,
            *("-" if n is None else f"{n:,.0f}" for n in (self.plain_peak, self.seen_peak, self.kept)),
            "-" if self.waits is None else f"{self.waits:.1f}",
        ]
        return f"| {self.model} | {self.what} | " + " | ".join(cells) + " |"


HEADING = (
    "| model | captured | plain ms a step | ratio | lowest to highest | aim | identical | peak MB, plain | observed |"
    " kept MB | waits a step |\n" + "|---" * 11 + "|"
)


@dataclass
class Table:
    """Rows as they come: printed, and written where a folder is given."""

    folder: Path | None
    until: float
    rows: list[Row] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Keep a row."""
        self.rows.append(row)
        print(row.line(), flush=True)
        self.write()

    def has_time(self, what: str, seconds: float) -> bool:
        """Whether so many seconds are left; else it is noted that ``what`` was left out."""
        left = self.until - time.perf_counter()
        if left < seconds:
            self.left_out.append(what)
            print(f"Left out for want of time: {what} ({seconds:.0f} s, {left:.0f} s are left).", flush=True)
        return left >= seconds

    def write(self) -> None:
        """Write what there is."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {"rows": [asdict(row) for row in self.rows], "left_out": self.left_out, "on": device_name()}
        (self.folder / "gpu_cost.json").write_text(json.dumps(told, indent=1), "utf-8")
        lines = [HEADING, *(row.line() for row in self.rows)]
        (self.folder / "gpu_cost.md").write_text("\n".join(lines) + "\n", "utf-8")


def device_name() -> str:
    """What it runs on, in words."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def drain() -> None:
    """Wait until the device has nothing left to do."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds of a call, to the end of its kernels, and what it returned."""
    drain()
    began = time.perf_counter()
    result = call()
    drain()
    return time.perf_counter() - began, result


def peak(call: Callable[[], Any]) -> tuple[float, Any]:
    """The most MB that a call has allocated on CUDA at once, beyond what there was; and what it returned."""
    import torch

    drain()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = call()
    drain()
    return (torch.cuda.max_memory_allocated() - before) / 1e6, result


def waits(call: Callable[[], Any]) -> int:
    """How often a call makes the host wait for CUDA, by torch's own account (`set_sync_debug_mode`)."""
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in said)


def kept_bytes(trace: Trace) -> int:
    """Bytes of the arrays of a trace."""
    return sum(
        array.nbytes
        for step in trace.steps
        for array in (
            step.latents,
            step.noise_pred,
            step.cond_pred,
            step.uncond_pred,
            step.x0_pred,
            step.preview,
            *(step.attention or {}).values(),
        )
        if array is not None
    )


def check(trace: Trace, capture: Capture, steps: int) -> None:
    """Raise RuntimeError where an observed call is not what is timed here: all steps, with what was asked."""
    missing = {name: why for name, why in trace.missing.items() if name not in ("text", "prompt")}
    if len(trace.steps) != steps or missing:
        raise RuntimeError(f"{len(trace.steps)} of {steps} steps; missing: {missing}")
    last = trace.steps[-1]
    wanted = {
        "latents": (capture.latents, last.latents),
        "predictions": (capture.predictions, last.noise_pred),
        "x0": (capture.x0, last.x0_pred),
        "previews": (capture.previews != "off", last.preview),
        "attention": (capture.attention != "off", last.attention),
    }
    absent = [name for name, (asked, there) in wanted.items() if asked and there is None]
    if absent:
        raise RuntimeError(f"The last step has no {' and no '.join(absent)}.")


def measure(sized: Sized, what: str, capture: Capture, aim: float, steps: int, rounds: int) -> Row:
    """Time plain and observed calls in turn."""
    import torch

    def plain() -> Any:
        return sized.pipe(
            num_inference_steps=steps,
            generator=torch.Generator().manual_seed(7),
            output_type="latent",
            **sized.arguments,
        ).images

    def seen() -> tuple[Any, Trace]:
        with observe(sized.pipe, capture) as trace:
            latents = plain()
        return latents, trace

    plain(), seen()
    ratios, plains, same = [], [], True
    for i in range(rounds):
        spent: dict[Any, float] = {}
        results: dict[Any, Any] = {}
        for call in (plain, seen) if i % 2 else (seen, plain):
            spent[call], results[call] = timed(call)
        latents, trace = results[seen]
        check(trace, capture, steps)
        same &= bool(torch.equal(latents, results[plain]))
        ratios.append(spent[seen] / spent[plain])
        plains.append(1e3 * spent[plain] / steps)
        kept = kept_bytes(trace) / 1e6
        del latents, trace, results
    median = statistics.median(ratios)
    row = Row(
        sized.name, what, statistics.median(plains), median, min(ratios), max(ratios), aim, same, kept=kept
    )
    if torch.cuda.is_available():
        row.plain_peak, _ = peak(plain)
        row.seen_peak, _ = peak(lambda: seen() and None)
        row.waits = (waits(seen) - waits(plain)) / steps
    return row


def try_out(table: Table, sized: Sized, what: str, setting: str, steps: int, rounds: int) -> None:
    """Add a row for one of `SETTINGS`; what goes wrong is a row too."""
    capture, aim = SETTINGS[setting]
    try:
        table.add(measure(sized, what, capture, aim, steps, rounds))
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        table.add(Row(sized.name, what, 0, 0, 0, 0, aim, error=reason))


def capture_costs(
    table: Table, sized: Sized, steps: int, rounds: int, wanted: list[str], chunks: list[int]
) -> None:
    """Add a row for each setting; of attention one for each size of chunk, 2^n numbers."""
    took, usual = 0.0, attention_maps_gpu.CHUNK
    for setting, (capture, _) in SETTINGS.items():
        if wanted and not any(word in setting for word in wanted):
            continue
        for n in chunks if chunks and capture.attention != "off" else [0]:
            if not table.has_time(f"{sized.name}, {setting}", took):
                continue
            began = time.perf_counter()
            attention_maps_gpu.CHUNK = 2**n if n else usual
            try_out(table, sized, f"{setting}, chunks of 2^{n}" if n else setting, setting, steps, rounds)
            took = time.perf_counter() - began
    attention_maps_gpu.CHUNK = usual


def placed_costs(table: Table, device: str, dtype: Any, steps: int, rounds: int, tiny: bool) -> None:
    """Add a row for each way of putting SD 1.5 on the device."""
    if device == "cpu":
        # The usual compiler needs one for C.
        placement.COMPILER = "eager"
    for way in (*(ON_A_GPU if device == "cuda" else ()), *ANYWHERE):
        what = f"linear previews, {', '.join(f'{k}={v}' for k, v in way.told.items())}"
        if not table.has_time(f"SD 1.5, {what}", 0 if tiny else 40):
            continue
        sized = gpu_pipelines.sd15(device, dtype, tiny)
        if way.offload:
            sized.pipe.to("cpu")
        placement.put(sized.pipe, way, device)
        try_out(table, sized, what, "and linear previews", steps, rounds)
        del sized


def beside(table: Table, device: str) -> None:
    """Run the benchmarks that belong to this, each in a process of its own, and keep what they print."""
    for name, seconds in BESIDE.items():
        if not table.has_time(name, seconds):
            continue
        command = [sys.executable, "-m", f"benchmarks.{name}", "--device", device]
        done = subprocess.run(command, capture_output=True, text=True)
        told = done.stdout if done.returncode == 0 else done.stdout + done.stderr[-2000:]
        print(f"\n{name}, {device}\n\n{told}", flush=True)
        if table.folder is not None:
            (table.folder / f"{name}.md").write_text(told, "utf-8")


def embedded(device: str, dtype: Any) -> Sized:
    """The model that ships with the project."""
    from diffatlas.backends.local import LocalBackend

    kind = {"torch.float32": "fp32", "torch.float16": "fp16"}[str(dtype)]
    pipe = LocalBackend(device, kind).pipeline("shapes")
    return Sized("embedded, 64 px", pipe, {"prompt": PROMPT, "guidance_scale": 3.0})


def sweep_costs(table: Table, device: str, dtype: Any, tiny: bool) -> None:
    """Add a row for a guidance sweep of five in one batch, of the embedded model and of SD 1.5's size."""
    from benchmarks.batched_sweep import compare
    from diffatlas.backends.local import LocalBackend
    from tests.pipelines import build_sd

    def models() -> Iterator[tuple[str, LocalBackend, GenerationParams, int, float]]:
        asked = GenerationParams(prompt=PROMPT, seed=7, num_inference_steps=2 if tiny else 30)
        kind = "fp32" if device == "cpu" else "fp16"
        yield "embedded, 64 px", LocalBackend(device, kind), asked, 5, 0.40
        sized = gpu_pipelines.sd15(device, dtype, tiny, text=build_sd())
        side = sized.arguments["height"]
        asked = asked.replace(width=side, height=side, num_inference_steps=2 if tiny else 15)
        yield sized.name, LocalBackend(pipe=sized.pipe), asked, 3, 0.90

    for name, backend, asked, rounds, aim in models():
        if not table.has_time(f"{name}, a sweep of five", 20 if not tiny else 0):
            continue
        cells = [asked.replace(guidance_scale=value) for value in SWEEP]
        found = compare(backend, cells, 1 if tiny else rounds)
        steps = len(cells) * asked.num_inference_steps
        table.add(
            Row(
                name,
                "a sweep of five in one batch",
                1e3 * statistics.median(found.seconds) / steps,
                statistics.median(found.walls),
                min(found.walls),
                max(found.walls),
                aim,
            )
        )
        backend.close()


def main(
    parts: Annotated[str, typer.Option(help=f"Of {', '.join(PARTS)}; with commas.")] = ",".join(PARTS),
    only: Annotated[str, typer.Option(help="Settings that have one of these words; with commas.")] = "",
    chunks: Annotated[str, typer.Option(help="Sizes of attention's chunks, as 21,22: 2^21 numbers...")] = "",
    steps: Annotated[int, typer.Option(help="Steps of a call; 0 for what suits the size.")] = 0,
    rounds: Annotated[int, typer.Option(help="Pairs of calls; 0 for what suits the size.")] = 0,
    seconds: Annotated[float, typer.Option(help="When to stop beginning another part.")] = 540,
    out: Annotated[Path | None, typer.Option(envvar="OUT", help="Where the table is written.")] = None,
    short: Annotated[bool, typer.Option("--short", envvar="TINY", help="Go through it small.")] = False,
) -> None:
    """Print the table."""
    import torch

    began = time.perf_counter()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float16 if device == "cuda" else torch.float32
    table = Table(out, began + seconds)
    chosen = [name for name in parts.split(",") if name]
    if unknown := [name for name in chosen if name not in PARTS]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(PARTS)}.")
    wanted = [word for word in only.split(",") if word]
    builders: dict[str, Callable[[], Sized]] = {
        "embedded": lambda: embedded(device, dtype),
        "sd15": lambda: gpu_pipelines.sd15(device, dtype, short),
        "sdxl": lambda: gpu_pipelines.sdxl(device, dtype, short),
        "flux": lambda: gpu_pipelines.flux(device, dtype, short),
    }
    print(f"On {device_name()}, torch {torch.__version__}.\n\n{HEADING}", flush=True)
    for name in chosen:
        of_size = (2, 1) if short else EFFORT.get(name, EFFORT["sd15"])
        of_size = (steps or of_size[0], rounds or of_size[1])
        if name == "sweep":
            sweep_costs(table, device, dtype, short)
        elif name == "placed":
            placed_costs(table, device, dtype, *of_size, short)
        elif name == "beside" and not short:
            beside(table, device)
        elif name in builders and table.has_time(name, 0):
            sized = builders[name]()
            capture_costs(table, sized, *of_size, wanted, [int(n) for n in chunks.split(",") if n])
            del sized
        if device == "cuda":
            torch.cuda.empty_cache()
    print(f"\n{time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    typer.run(main)
