"""One run on Modal from a shell: ``modal run modal_deploy.py --prompt ...``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from diffatlas.errors import DiffAtlasError, PaidImages

if TYPE_CHECKING:
    from diffatlas.backends.modal import ModalBackend


def run_once(
    backend: ModalBackend,
    prompt: str,
    model: str,
    seed: int,
    steps: int,
    guidance: float | None = None,
    yes: bool = False,
) -> None:
    """Say what a run may cost, ask where that is much, run it, show its progress, and save it in the library here.

    Ends the process with one line and exit code 2 where that cannot be.
    """
    from diffatlas.capture.spec import Capture
    from diffatlas.cli.output import follow, interrupt_sets
    from diffatlas.cli.running import say
    from diffatlas.library import Library
    from diffatlas.operations import cache, trace
    from diffatlas.params import GenerationParams

    asked: dict[str, Any] = {"prompt": prompt, "model": model, "seed": seed, "num_inference_steps": steps}
    if guidance is not None:
        asked["guidance_scale"] = guidance
    try:
        params, capture, library = GenerationParams(**asked).validate(), Capture(), Library()
        if cache.lookup(library, backend, params, capture) is None:
            _confirm(backend, params, yes)
        with interrupt_sets() as stop:
            run_id = follow(trace.stream(params, capture, backend, library, stop))
        if backend.spent.runs:
            took = backend.rate()
            dollars = None if took.dollars is None else took.dollars * backend.spent.seconds
            from diffatlas.backends.hosted.money import dollars_words

            cost = "" if dollars is None else f", about {dollars_words(dollars)}"
            say(
                f"Modal took {backend.spent.seconds:.0f} s for it{cost}, and its start and idle time besides."
            )
        if run_id is not None:
            print(run_id)
    except DiffAtlasError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _confirm(backend: ModalBackend, params: Any, yes: bool) -> None:
    """Say what a run may cost; ask on a terminal where that is much."""
    from diffatlas.backends.on_modal.prices import check_confirmed
    from diffatlas.cli.running import say

    say(f"This runs on {backend.rate().words()}, which is started to find out how long it takes.")
    found = backend.estimate(params)
    cost = backend.cost(None if found is None else found.seconds)
    say(f"This asks for {cost.words()}.")
    if yes:
        return
    try:
        check_confirmed(cost, "add --yes to pay for it")
    except PaidImages:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
            raise SystemExit(1) from None
