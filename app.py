"""Start Diffusion Atlas: ``python app.py``, on any machine and as a Hugging Face Space."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from diffatlas import space
from diffatlas.backends.threads import compute_small_models_with_one
from diffatlas.errors import DiffAtlasError
from diffatlas.waiting_threads import let_threads_sleep

# Before Gradio and torch are imported, which read the environment then.
space.prepare()
let_threads_sleep()
compute_small_models_with_one()


def lend_gpus(device: str = "cuda") -> None:
    """Let models run in processes that ZeroGPU lends a GPU, each for the seconds that its run should take."""
    import spaces

    from diffatlas.backends.zerogpu import ZeroGpuBackend
    from diffatlas.operations.trace import use_as_local

    backend = ZeroGpuBackend(device)

    @spaces.GPU(duration=lambda request, stop, seconds: seconds)
    def on_gpu(request: bytes, stop: str, seconds: int) -> Iterator[bytes]:
        yield from backend.work(request, stop)

    backend.on_gpu = on_gpu
    use_as_local(backend)


if __name__ == "__main__":
    from diffatlas.ui.app import launch

    if space.on_zerogpu():
        # Before the app is built, and before anything has touched CUDA.
        lend_gpus()
    try:
        launch()
    except DiffAtlasError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
