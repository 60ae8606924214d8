"""Every benchmark still measures what it says: each is run once, as small as can be."""

from __future__ import annotations

import re

import pytest

from tests.benchmarked import ROOT, run_short

PLAIN = (
    "app_memory",
    "attention_cost",
    "batched_sweep",
    "bench_run",
    "capture_cost",
    "estimates",
    "geneval_marks",
    "gpu_cost",
    "half_precision",
    "host_cost",
    "hosted_overhead",
    "image_bytes",
    "lab2d",
    "layers",
    "library",
    "models_in_turn",
    "remote_overhead",
    "ray_scaling",
    "training_speed",
    "why_it_failed",
    "workshop",
)
#: Those of the pages, which are run beside the other browser tests.
OF_PAGES = ("app_long_runs", "app_open", "app_stream", "bench_page", "curves_page", "lab2d_page")
#: On a GPU alone.
ON_A_GPU = ("training_replay",)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
def test_a_benchmark_measures(name):
    assert re.search(r"\d\.\d", run_short(name))


def test_none_is_left_out():
    found = {
        path.stem for path in (ROOT / "benchmarks").glob("*.py") if "typer.run" in path.read_text("utf-8")
    }
    assert found == {*PLAIN, *OF_PAGES, *ON_A_GPU}
