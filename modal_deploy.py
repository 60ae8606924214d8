"""Diffusion Atlas on Modal: containers with a GPU that run what they are asked, and, where it is wanted, the page.

    modal deploy modal_deploy.py
    modal run modal_deploy.py --prompt "a red circle"

How it is deployed is said by the settings ``DIFFATLAS_MODAL_...`` of the shell that deploys it (docs/modal.md).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import modal

from diffatlas import __version__
from diffatlas.backends import wire
from diffatlas.backends.modal import QUEUE, LocalOnModal, ModalBackend, device_of
from diffatlas.backends.on_modal import described, frames, worker
from diffatlas.settings import settings

HERE = Path(__file__).resolve().parent
#: Where the volumes are in a container.
WEIGHTS, KEPT = "/weights", "/atlas"
#: The secret with DIFFATLAS_PAGE_PASSWORD in it.
PASSWORD = "diffatlas-page"
#: What is installed of the project: the package, the models that ship with it, and what its build reads.
PROJECT = ("diffatlas", "models", "pyproject.toml", "README.md", "LICENSE")
#: Visitors' requests that the one container of the page takes at once.
REQUESTS = 100

chosen = settings()
#: What a container has to know of how it was deployed: it reads this file too.
told = {
    "DIFFATLAS_MODAL_APP": chosen.modal_app,
    "DIFFATLAS_MODAL_GPU": chosen.modal_gpu,
    "DIFFATLAS_MODAL_CONTAINERS": str(chosen.modal_containers),
    "DIFFATLAS_MODAL_CORES": str(chosen.modal_cores),
    "DIFFATLAS_MODAL_MEMORY": str(chosen.modal_memory),
    "DIFFATLAS_MODAL_IDLE": str(chosen.modal_idle),
    "DIFFATLAS_MODAL_TIMEOUT": str(chosen.modal_timeout),
    "DIFFATLAS_MODAL_SNAPSHOT": str(chosen.modal_snapshot),
    "DIFFATLAS_MODAL_SECRET": chosen.modal_secret,
    "DIFFATLAS_MODAL_PAGE": chosen.modal_page,
    "DIFFATLAS_MODAL_WAIT": str(chosen.modal_wait),
    "HF_HOME": WEIGHTS,
}
app = modal.App(chosen.modal_app)
weights = modal.Volume.from_name("diffatlas-weights", create_if_missing=True)
kept = modal.Volume.from_name("diffatlas-library", create_if_missing=True)
#: Such as one with HF_TOKEN, for models that the Hub gives to some only.
secrets = [modal.Secret.from_name(chosen.modal_secret)] if chosen.modal_secret else []
answers = modal.Queue.from_name(QUEUE, create_if_missing=True)


def not_installed(path: Path) -> bool:
    """Whether a file of the checkout (its path in there) is not needed to install the project."""
    return path.parts[0] not in PROJECT or "__pycache__" in path.parts


def project_image() -> modal.Image:
    """Return the image: what the project needs in the versions that it is tested with, then the project itself."""
    image = modal.Image.debian_slim(python_version=f"{sys.version_info.major}.{sys.version_info.minor}")
    if not modal.is_local():
        return image
    return (
        image.add_local_file(HERE / "constraints.txt", "/constraints.txt", copy=True)
        .pip_install_from_pyproject(
            str(HERE / "pyproject.toml"),
            optional_dependencies=["lora", "modal"],
            extra_options="-c /constraints.txt",
        )
        .env(told)
        # A change of the code builds what is from here on anew.
        .add_local_dir(HERE, "/project", copy=True, ignore=not_installed)
        .run_commands("pip install --no-deps /project")
    )


image = project_image()


@app.cls(
    image=image,
    gpu=chosen.modal_gpu or None,
    cpu=chosen.modal_cores,
    memory=chosen.modal_memory,
    volumes={WEIGHTS: weights},
    secrets=secrets,
    max_containers=chosen.modal_containers,
    scaledown_window=chosen.modal_idle,
    timeout=chosen.modal_timeout,
    enable_memory_snapshot=chosen.modal_snapshot,
)
class Gpu:
    """A container with a GPU. It runs one request at a time: cancelling that leaves others alone."""

    @modal.enter(snap=chosen.modal_snapshot)
    def load(self) -> None:
        """Load the libraries, which a snapshot holds; it must not hold a GPU."""
        import diffusers  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401

    @modal.enter()
    def open(self) -> None:
        """Open the backend. The model of the first request is loaded with it, and stays."""
        from diffatlas.backends.local import LocalBackend

        self.backend = LocalBackend(device=device_of(settings()))

    @modal.method()
    def run(self, asked: bytes, name: str) -> dict[str, Any]:
        """Run a request and put its events on the partition ``name`` of the queue (`worker.run`)."""
        return worker.run(self.backend, answers, asked, name)

    @modal.method()
    def estimate(self, asked: bytes) -> dict[str, Any] | None:
        """Return what a request should take here (`described.estimate`)."""
        return described.estimate(self.backend, asked)


@app.cls(
    image=image,
    cpu=1.0,
    memory=4096,
    volumes={WEIGHTS: weights},
    secrets=secrets,
    scaledown_window=300,
    max_containers=1,
)
@modal.concurrent(max_inputs=20)
class Facts:
    """A container without a GPU, which answers what can be known without one."""

    @modal.enter()
    def open(self) -> None:
        """Open a backend that runs nothing."""
        self.backend = described.Foretold(device_of(settings()))

    @modal.method()
    def facts(self, asked: bytes) -> dict[str, Any]:
        """Return what decides a request's result (`described.facts`)."""
        if not modal.is_local():
            # What other containers have fetched since.
            weights.reload()
        return described.facts(self.backend, asked)

    @modal.method()
    def models(self) -> list[dict[str, Any]]:
        """Return the models that are offered (`described.models`)."""
        return described.models()

    @modal.method()
    def about(self) -> dict[str, Any]:
        """Return how the app is deployed; `ModalBackend.about` lists what."""
        deployed = settings()
        return {
            "gpu": deployed.modal_gpu,
            "cores": deployed.modal_cores,
            "memory": deployed.modal_memory,
            "idle": deployed.modal_idle,
            "timeout": deployed.modal_timeout,
            "containers": deployed.modal_containers,
            "version": __version__,
            "wire": wire.VERSION,
            "frames": frames.VERSION,
        }


def page() -> Any:
    """Return the page: its runs go to `Gpu`, its library is in a volume, and each visitor sees their own."""
    from diffatlas.operations.trace import use_as_local
    from diffatlas.ui.mounted import mounted

    password = os.environ.get("DIFFATLAS_PAGE_PASSWORD")
    if chosen.modal_page == "password" and not password:
        raise RuntimeError(f"The secret {PASSWORD!r} holds no DIFFATLAS_PAGE_PASSWORD: create it again.")
    use_as_local(LocalOnModal())
    return mounted(password if chosen.modal_page == "password" else None)


if chosen.modal_page != "none":
    page = app.function(
        image=image,
        cpu=2.0,
        memory=8192,
        volumes={WEIGHTS: weights, KEPT: kept},
        secrets=[modal.Secret.from_name(PASSWORD)] if chosen.modal_page == "password" else [],
        env={
            "DIFFATLAS_LIBRARY": f"{KEPT}/runs",
            "DIFFATLAS_HOSTED_LEDGER": f"{KEPT}/hosted.sqlite",
            "DIFFATLAS_MODE": "shared",
        },
        # A page holds its visitors' tabs in its memory: there is one container, and it takes all of them.
        max_containers=1,
        scaledown_window=300,
        timeout=24 * 3600,
    )(modal.concurrent(max_inputs=REQUESTS)(modal.asgi_app()(page)))


@app.local_entrypoint()
def main(
    prompt: str,
    model: str = "shapes",
    seed: int = 0,
    steps: int = 30,
    guidance: float | None = None,
    gpu: str = "",
    yes: bool = False,
) -> None:
    """Run one request on Modal, show its progress, and save the run in this machine's library.

    What it may cost is said beforehand, and asked for from DIFFATLAS_MODAL_CONFIRM dollars on, unless ``--yes``.
    """
    from diffatlas.cli.modal_run import run_once

    backend = ModalBackend(gpu=gpu or None, classes=(Gpu, Facts))
    run_once(backend, prompt, model, seed, steps, guidance, yes)
