"""Fixtures that several folders share: small random pipelines, built once per session."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before huggingface_hub is imported: the Hub of a test is its own, and without a network the real one costs half a
# minute of retries.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Before torch is imported, as in the app: a thread that waits would spin on a core that another needs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if os.environ.get("PYTEST_XDIST_WORKER"):
    # Each worker computes on its share of the cores; read by OpenMP when torch is imported.
    _share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(_share))
    # From UMAP's first embedding on OpenMP computes with so many, also for torch.
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would be paid for, unless it is asked for; begin with what takes longest on one worker."""
    paid = [
        item for item in items if (mark := item.get_closest_marker("live")) and not _may_pay(config, mark)
    ]
    if paid:
        config.hook.pytest_deselected(items=paid)
        items[:] = [item for item in items if item not in paid]
    items.sort(key=lambda item: not _in_browser(item.nodeid))


def _may_pay(config: pytest.Config, live: pytest.Mark) -> bool:
    """Whether a test that is marked ``live(provider)`` is asked for by ``-m live`` and has its provider's key."""
    from diffatlas.backends.hosted import provider_of

    asked = "live" in (config.getoption("markexpr") or "")
    return asked and any(os.environ.get(name) for name in provider_of(live.args[0]).variables)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Import in a worker what most tests need, so that no later collection of garbage looks through it.

    Each model that is loaded collects garbage: that took a quarter of the time of the tests that load one.
    """
    if os.environ.get("PYTEST_XDIST_WORKER"):
        import tests.heavy_libraries  # noqa: F401


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a file's tests on one worker, and those that drive a browser all on the same: two starve each other."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "browser" if _in_browser(nodeid) else nodeid.partition("::")[0]

    return ByFile(config, log)


def _in_browser(nodeid: str) -> bool:
    # A benchmark has a browser and an app of its own, and waits for nothing that could come too late.
    return nodeid.startswith("tests/browser/") and "_benchmarks.py" not in nodeid


@pytest.fixture(scope="session", autouse=True)
def no_bound_of_time() -> Iterator[None]:
    """Let no test be refused because the machine is slow; those of the bounds set their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFATLAS_MOST_SECONDS", "0")
        yield


class _Mismatches(logging.Handler):
    """Answers to pages that were none of their types, as the app's log tells of them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0] is not None and record.exc_info[0].__name__ == "Mismatch":
            self.seen.append(f"{record.getMessage()} {record.exc_info[1]}")


@pytest.fixture(scope="session")
def mismatches() -> Iterator[list[str]]:
    """Have every app of the tests hold what it answers its pages against the types of the wire."""
    handler = _Mismatches()
    logging.getLogger("diffatlas").addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFATLAS_CHECK_ANSWERS", "1")
        yield handler.seen
    logging.getLogger("diffatlas").removeHandler(handler)


@pytest.fixture(autouse=True)
def checked_answers(mismatches: list[str]) -> Iterator[None]:
    """Fail the test in which a page was answered other than the wire says."""
    yield
    told = [*mismatches]
    mismatches.clear()
    assert not told


@pytest.fixture(scope="session", autouse=True)
def no_models_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the registry of whoever runs the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFATLAS_USER_MODELS", str(tmp_path_factory.mktemp("user") / "models.md"))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_runs_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Record no run of a test, nor of a process that it starts, into the library of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFATLAS_LIBRARY", str(tmp_path_factory.mktemp("library") / "runs"))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_images_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Count no image of a test among those that whoever runs the tests pays for; those of the cap set their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFATLAS_HOSTED_LEDGER", str(tmp_path_factory.mktemp("ledger") / "hosted.sqlite"))
        patch.setenv("DIFFATLAS_HOSTED_CAP", "0")
        yield


@pytest.fixture(scope="session")
def shapes_pipe() -> Any:
    """The embedded model, in float32."""
    import torch
    from diffusers import StableDiffusionPipeline

    folder = Path(__file__).parents[1] / "models" / "shapes"
    pipe = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True).to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def sd_pipe() -> Any:
    from tests import pipelines

    return pipelines.build_sd()


@pytest.fixture(scope="session")
def sdxl_pipe() -> Any:
    from tests import pipelines

    return pipelines.build_sdxl()


@pytest.fixture(scope="session")
def sd3_pipe() -> Any:
    from tests import pipelines

    return pipelines.build_sd3()


@pytest.fixture(scope="session")
def flux_pipe() -> Any:
    """FLUX with embedded guidance."""
    from tests import pipelines

    return pipelines.build_flux()


@pytest.fixture(scope="session")
def flux_cfg_pipe() -> Any:
    """FLUX without embedded guidance: true CFG by two denoiser calls."""
    from tests import pipelines

    return pipelines.build_flux(guidance_embeds=False)


@pytest.fixture(scope="session")
def pixart_pipe() -> Any:
    from tests import pipelines

    return pipelines.build_pixart()


@pytest.fixture(scope="session")
def qwen_pipe() -> Any:
    from tests import pipelines

    return pipelines.build_qwen()


@pytest.fixture(scope="session")
def zimage_pipe() -> Any:
    from tests import pipelines

    return pipelines.build_zimage()


@pytest.fixture(scope="session")
def flux2_pipe() -> Any:
    from tests import pipelines

    return pipelines.build_flux2()
