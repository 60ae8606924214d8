"""Record the examples that the pages begin with: runs and studies of the embedded model, a library in a folder.

Run from the project's root::

    python -m docs.record_examples

It replaces ``diffatlas/examples``. What is asked is in `diffatlas.ui.starts`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from diffatlas import Capture, GenerationParams, Library
from diffatlas.library.shipped import EXAMPLES
from diffatlas.library.study import Study
from diffatlas.operations.trace import shared_local_backend, trace
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import run_study
from diffatlas.ui.starts import IDS_FILE, NEIGHBOURS, RADIUS, SCALES, STARTS

README = """# Examples

Recorded runs and studies of the embedded model, laid out as a library is: what each page shows before anything has
run. `python -m docs.record_examples` makes them again; `starts.json` says which belongs to which page. They are
only read. The neighbours are kept without the model's single predictions, to keep the folder small.
"""


def request(page: str) -> GenerationParams:
    """What the form of a page asks at first."""
    start = STARTS[page]
    return GenerationParams(
        model="shapes",
        prompt=start.preset.prompt,
        seed=start.preset.seed,
        num_inference_steps=30,
        guidance_scale=3.0,
        width=64,
        height=64,
    )


def record_study(study: Study, library: Library, capture: Capture) -> str:
    """Run a study into a library; return its id."""
    for _ in run_study(study, lambda _: shared_local_backend(), library, capture, reuse=False):
        pass
    return study.id


def main() -> None:
    """Record everything and put it in place."""
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder) / "examples")
        whole = Capture(previews="every", preview_decoder="linear")
        run = trace(
            request("trajectory"), capture=Capture(previews="every", attention="cross"), library=library
        )
        sweep = plan_sweep(request("sweep"), "guidance_scale", SCALES)
        around = plan_neighbourhood(request("neighbourhood"), k=NEIGHBOURS, radius=RADIUS)
        small = Capture(previews="every", preview_decoder="linear", predictions=False)
        ids = {
            "trajectory": run.id,
            "attention": run.id,
            "sweep": record_study(sweep, library, whole),
            "neighbourhood": record_study(around, library, small),
        }
        (library.folder / "README.md").write_text(README, encoding="utf-8")
        (library.folder / IDS_FILE.name).write_text(json.dumps(ids, indent=1) + "\n", encoding="utf-8")
        for index in library.folder.glob("*.sqlite*"):
            index.unlink()
        shutil.rmtree(EXAMPLES, ignore_errors=True)
        shutil.copytree(library.folder, EXAMPLES)


if __name__ == "__main__":
    main()
