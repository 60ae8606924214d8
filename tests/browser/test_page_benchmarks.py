"""The benchmarks of the pages still measure: each is run once, as small as can be."""

from __future__ import annotations

import re

import pytest

from tests.benchmarked import run_short

pytestmark = pytest.mark.browser


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["app_long_runs", "app_open", "app_stream", "bench_page", "curves_page", "lab2d_page"]
)
def test_a_benchmark_measures(name, chromium):
    assert re.search(r"\d\.\d", run_short(name))
