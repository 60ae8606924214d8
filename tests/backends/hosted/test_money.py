"""What is paid for is counted, in every process and after a crash, and no more is made than the settings allow."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diffatlas.backends import open_backend
from diffatlas.backends.hosted import money
from diffatlas.backends.hosted.money import Count, Ledger
from diffatlas.errors import BackendFailure, CapabilityError, OverBudget, PaidImages
from diffatlas.params import GenerationParams

DEV, SCHNELL = "black-forest-labs/flux-dev", "black-forest-labs/flux-schnell"


@pytest.fixture
def personal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "data" / "hosted.sqlite"
    monkeypatch.setenv("DIFFATLAS_MODE", "personal")
    monkeypatch.setenv("DIFFATLAS_HOSTED_LEDGER", str(path))
    monkeypatch.setenv("DIFFATLAS_HOSTED_CAP", "3")
    return path


@pytest.fixture
def shared(personal: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in (("MODE", "shared"), ("HOSTED_FOR_VISITORS", "1")):
        monkeypatch.setenv(f"DIFFATLAS_{name}", value)
    for name, value in (("CAP", "100"), ("VISITOR_IMAGES", "2"), ("DAILY_IMAGES", "3")):
        monkeypatch.setenv(f"DIFFATLAS_HOSTED_{name}", value)
    return personal


def test_the_cap_of_a_day_ends_and_names_the_setting(personal):
    for provider in ("replicate", "fal", "replicate"):
        money.reserve(provider, 0.025)
    with pytest.raises(OverBudget, match="DIFFATLAS_HOSTED_CAP"):
        money.reserve("fal")
    assert money.made_today() == Count(3, pytest.approx(0.075), 0)
    assert money.made_today("replicate").images == 2


def test_what_was_not_paid_is_given_back_once(personal):
    give_back = money.reserve("replicate")
    money.reserve("replicate", 0.025)
    give_back()
    give_back()
    assert money.made_today() == Count(1, pytest.approx(0.025), 0)


def test_no_cap_counts_all_the_same(personal, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_HOSTED_CAP", "0")
    for _ in range(5):
        money.reserve("replicate")
    assert money.made_today() == Count(5, 0.0, 5)


def test_many_at_once_get_no_more_than_the_cap(personal):
    def one(_):
        try:
            money.reserve("replicate", 0.01)
        except OverBudget:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(16))) == 3


def test_a_process_that_is_killed_leaves_what_it_paid_for(personal):
    script = (
        "import os, signal\nfrom diffatlas.backends.hosted import money\nmoney.reserve('replicate', 0.5)\n"
    )
    script += "os.kill(os.getpid(), signal.SIGKILL)"
    ended = subprocess.run([sys.executable, "-c", script], env=dict(os.environ), check=False)
    assert ended.returncode == -9
    assert money.made_today().images == 1


def test_a_new_day_begins_at_nothing_and_keeps_nothing_of_the_old(personal):
    day = "2026-11-30"
    ledger = Ledger(personal, lambda: day)
    give_back = ledger.reserve("replicate")
    for _ in range(2):
        ledger.reserve("replicate")
    day = "2026-12-01"
    assert ledger.made_today() == Count()
    ledger.reserve("replicate")
    give_back()
    assert ledger.made_today().images == 1
    assert b"2026-11-30" not in personal.read_bytes()


def test_a_visitor_and_all_visitors_have_budgets_of_the_hosts_keys(shared):
    for _ in range(2):
        money.reserve("replicate", visitor="one")
    with pytest.raises(OverBudget, match="DIFFATLAS_HOSTED_VISITOR_IMAGES"):
        money.reserve("replicate", visitor="one")
    money.reserve("replicate", visitor="two")
    with pytest.raises(OverBudget, match="DIFFATLAS_HOSTED_DAILY_IMAGES"):
        money.reserve("replicate", visitor="three")
    assert money.made_today(visitor="one").images == 2
    assert money.made_today(visitor="three") == Count()
    stored = shared.read_bytes()
    assert b"one" not in stored
    assert b"two" not in stored


def test_a_visitors_own_key_uses_up_nobodys_budget(shared, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_HOSTED_CAP", "1")
    for _ in range(4):
        money.reserve("replicate")
    money.reserve("replicate", visitor="one")
    with pytest.raises(OverBudget, match="DIFFATLAS_HOSTED_CAP"):
        money.reserve("replicate", visitor="two")


def test_the_hosts_keys_serve_no_visitor_unless_the_host_says_so(shared, monkeypatch):
    monkeypatch.delenv("DIFFATLAS_HOSTED_FOR_VISITORS")
    with pytest.raises(OverBudget, match="DIFFATLAS_HOSTED_FOR_VISITORS"):
        money.reserve("replicate", visitor="one")
    assert money.made_today() == Count()


def test_the_hosts_keys_run_the_models_of_the_list_alone(shared):
    free = GenerationParams(model="somebody/free-id", prompt="a red circle")
    listed = free.replace(model=SCHNELL, num_inference_steps=4)
    lent = open_backend("replicate", key="a-key", visitor="one")
    assert lent.resolve(listed) == listed
    with pytest.raises(CapabilityError, match="the models of its list"):
        lent.resolve(free)
    assert open_backend("replicate", key="a-key").resolve(free) == free


def test_nothing_is_paid_for_that_cannot_be_counted(personal):
    personal.parent.mkdir()
    personal.write_bytes(b"not a database, but long enough to look like one" * 20)
    with pytest.raises(BackendFailure, match="DIFFATLAS_HOSTED_LEDGER"):
        money.reserve("replicate")


def test_an_estimate_says_models_prices_and_where_they_are_from():
    cells = [("replicate", DEV, None, None)] * 12
    assert money.estimate(cells).words() == (
        "12 images of FLUX.1 dev at Replicate, about $0.30 by the price in models/replicate.md"
    )
    found = money.estimate([*cells, ("replicate", SCHNELL, 1024, 1024)])
    assert (found.images, found.dollars) == (13, pytest.approx(0.303))
    unknown = money.estimate([*cells, ("replicate", "somebody/free-id", None, None)])
    assert unknown.dollars is None
    assert "1 image of somebody/free-id at Replicate, at a price that" in unknown.words()


def test_many_images_are_asked_for_twice(monkeypatch):
    monkeypatch.setenv("DIFFATLAS_HOSTED_CONFIRM", "3")
    cells = [("replicate", DEV, None, None)]
    money.check_confirmed(money.estimate(cells * 2), "confirm it")
    with pytest.raises(PaidImages, match=r"3 images of FLUX.1 dev .* \$0.075 .*: confirm it\."):
        money.check_confirmed(money.estimate(cells * 3), "confirm it")
