"""A program: app.py's own function under the real package ``spaces``, as a Space runs it, and what came of each scene.

It prints a line of JSON: scene -> what was seen.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from tests import fake_zerogpu

ROOT = Path(__file__).parents[2]
QUOTA = {"left": 30, "wait": "PT12M33S"}


def main(folder: Path, platform: fake_zerogpu.FakeZeroGpu) -> dict:
    os.environ |= {
        "SPACE_ID": "someone/atlas",
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": platform.address,
        "ZEROGPU_OFFLOAD_DIR": str(folder / "offload"),
    }
    sys.path.insert(0, str(ROOT))
    import app

    fake_zerogpu.without_cuda()
    app.lend_gpus(device="cpu")

    import torch
    from gradio.context import LocalContext

    from diffatlas.backends import zerogpu
    from diffatlas.backends.local import LocalBackend
    from diffatlas.capture.spec import Capture
    from diffatlas.events import Failed, Finished, Image, Started, Step, Waiting, to_bytes
    from diffatlas.library import Library
    from diffatlas.operations.trace import shared_local_backend, stream
    from diffatlas.params import GenerationParams
    from diffatlas.studies.run_side_by_side import side_by_side

    backend, here = shared_local_backend(), LocalBackend(device="cpu")
    params = GenerationParams(model="shapes", prompt="a red circle", num_inference_steps=5, seed=3)
    capture = Capture(attention="cross")
    plain = Capture()
    seen: dict = {"cuda_is_told": torch.cuda.is_available(), "device": backend.device}

    def same(event):
        """What of an event is the same wherever it ran."""
        if isinstance(event, Started):
            event = replace(event, run_id="", provenance={**event.provenance, "started": ""})
        if isinstance(event, Finished):
            event = replace(event, seconds=0.0)
        return to_bytes(event)

    def kinds(events):
        return [type(event).__name__ for event in events if not isinstance(event, Waiting)]

    def failure(events):
        return next(([e.code, e.message] for e in events if isinstance(e, Failed)), None)

    # One run, its identity, and what comes back besides events.
    seen["before"] = backend.estimate(params)
    there = [event for event in backend.trace(params, capture) if not isinstance(event, Waiting)]
    local = list(here.trace(params, capture))
    seen["same"] = [same(a) == same(b) for a, b in zip(there, local, strict=True)]
    seen["kinds"] = kinds(there)
    seen["identity"] = there[0].provenance["identity"] == backend.identity(backend.resolve(params))
    list(backend.trace(params, plain))
    estimate = backend.estimate(params)
    seen["after"] = estimate.seconds if estimate else None
    seen["globals"] = backend._there is None
    seen["asked"] = [int(each["durationSeconds"]) for each in platform.asked("/schedule")]

    # A batch.
    cells = [params, replace(params, seed=4, guidance_scale=2.0)]
    there = [pair for pair in backend.trace_batch(cells, plain) if not isinstance(pair[1], Waiting)]
    local = list(here.trace_batch(cells, plain))
    seen["batch"] = [a[0] == b[0] and same(a[1]) == same(b[1]) for a, b in zip(there, local, strict=True)]

    # Stopped by the signal, and by closing.
    long = replace(params, num_inference_steps=300)
    stop, events = threading.Event(), []
    for event in backend.trace(long, plain, stop):
        events.append(event)
        if isinstance(event, Step):
            stop.set()
    seen["stopped"] = [len([e for e in events if isinstance(e, Step)]), events[-1].status]
    platform.released.clear()
    closing = backend.trace(long, plain)
    for event in closing:
        if isinstance(event, Step):
            break
    closing.close()
    seen["closed"] = platform.released.wait(20)

    # Stopped while it waits for a GPU, which is given back once it comes.
    platform.queues = True
    platform.released.clear()
    stop = threading.Event()
    waiting = backend.trace(params, plain, stop)
    first = next(waiting)
    stop.set()
    seen["queued"] = [type(first).__name__, [e.status for e in waiting if isinstance(e, Finished)]]
    platform.let_go.set()
    seen["given_back"] = platform.released.wait(20)

    # Cut off.
    zerogpu.QUIET = 3.0
    platform.strict = True
    library = Library(folder / "cut")
    own = backend.seconds
    backend.seconds = lambda cells, capture: 2
    events = list(stream(replace(params, num_inference_steps=999), plain, backend, library))
    backend.seconds = own
    platform.strict, zerogpu.QUIET = False, 600.0
    kept = library.list()[0]
    steps = len([e for e in events if isinstance(e, Step)])
    seen["cut"] = [failure(events), steps, kept.status, library.open(kept.id).step_count]

    # An error in the process with the GPU that is none of ours.
    work = backend.work
    backend.work = lambda request, stop: iter(_raise())
    seen["raised"] = failure(list(backend.trace(params, plain)))
    backend.work = work

    # Refusals.
    refusals = {
        "quota": (429, {"X-Approve-Result": "quota-exceeded"}, QUOTA),
        "signed_in": (429, {"X-Approve-Result": "quota-exceeded", "X-Authenticated": "regular"}, QUOTA),
        "illegal": (429, {"X-Approve-Result": "illegal-duration"}, {"left": 0, "wait": "-PT1S"}),
        "pending": (429, {"X-Approve-Result": "pending-overquota-exceeded"}, QUOTA),
        "none_free": (503, {}, {}),
        "expired": (401, {}, {}),
        "down": (500, {}, {}),
    }
    for name, refusal in refusals.items():
        platform.refusal = refusal
        LocalContext.request.set(SimpleNamespace(headers=_Headers({"x-ip-token": "a.e30.c"})))
        seen[name] = failure(list(backend.trace(params, plain)))
    LocalContext.request.set(None)
    platform.refusal = refusals["quota"]
    seen["nobody"] = failure(list(backend.trace(params, plain)))
    platform.queues = platform.fails = True
    platform.let_go.set()
    seen["queue"] = failure(list(backend.trace(params, plain)))
    os.environ["DIFFATLAS_ZEROGPU_SECONDS"] = "1"
    asked = len(platform.asked("/schedule"))
    # However fast this machine is.
    seen["too_long"] = [failure(list(backend.trace(long, plain))), len(platform.asked("/schedule")) - asked]
    del os.environ["DIFFATLAS_ZEROGPU_SECONDS"]

    # Whose run it is, also on a thread that a visitor's handler has begun.
    LocalContext.request.set(SimpleNamespace(headers=_Headers({"x-ip-token": "visitor.e30.c"})))
    side_by_side(lambda: seen.setdefault("image", kinds(backend.trace(params, plain))[-2:]), 1)
    ended: list = []
    side_by_side(lambda: ended.append([e for e in backend.trace(params, plain) if isinstance(e, Image)]), 2)
    seen["tokens"] = [each.get("token") for each in platform.asked("/schedule")[-3:]]

    # What does not run on the GPU runs here.
    decoded = backend.decode(params, next(e for _, e in local if isinstance(e, Step)).latents)
    seen["decoded"] = [list(decoded.shape), str(backend.pipeline("shapes").vae.device)]
    return seen


def _raise():
    raise KeyError("gone")


class _Headers(dict):
    """Headers as Gradio has them: with a ``__dict__``."""


if __name__ == "__main__":
    with fake_zerogpu.serve() as served:
        told = main(Path(sys.argv[1]), served)
    Path(sys.argv[1], "seen.json").write_text(json.dumps(told))
    # Processes of the platform are daemons; nothing is waited for.
    os._exit(0)
