"""What runs on Modal cost, before and after."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from diffatlas.backends.on_modal import prices
from diffatlas.errors import PaidImages

TABLE = json.loads(Path(prices.__file__).with_name("gpus.json").read_text())


def test_every_price_has_a_date_and_makes_sense():
    assert TABLE["source"]
    for entry in (TABLE["core"], TABLE["gib"], *TABLE["gpus"].values()):
        assert date.fromisoformat(entry["date"]) > date(2026, 1, 1)
    hourly = {kind: entry["dollars_a_second"] * 3600 for kind, entry in TABLE["gpus"].items()}
    assert all(0.3 < dollars < 10 for dollars in hourly.values())


def test_a_container_is_paid_for_with_its_gpus_cores_and_memory():
    core, gib = TABLE["core"]["dollars_a_second"], TABLE["gib"]["dollars_a_second"]
    h100 = TABLE["gpus"]["H100"]["dollars_a_second"]
    assert prices.rate_of("H100:2", 4, 2048).dollars == pytest.approx(2 * h100 + 4 * core + 2 * gib)
    assert prices.rate_of("", 1, 1024).dollars == pytest.approx(core + gib)
    assert prices.rate_of("h100").dollars == h100
    assert prices.rate_of("H100", 1).date == min(TABLE["core"]["date"], TABLE["gpus"]["H100"]["date"])
    unknown = prices.rate_of("Z9")
    assert unknown.dollars is None
    assert "does not know" in unknown.words()


def test_a_cost_counts_starts_and_idle_time():
    cost = prices.Cost(prices.rate_of("A10"), 30.0, containers=2, idle=60)
    assert cost.most_seconds == 30 + 2 * (prices.START_SECONDS + 60)
    assert cost.dollars == pytest.approx(cost.most_seconds * 0.000306)
    assert cost.words() == (
        "about 30 s on an A10 at $1.10 an hour (Modal's prices of 2026-09-24), about $0.10 with the longest start and "
        "idle time of 2 containers"
    )
    assert "unknown time" in prices.Cost(prices.rate_of("A10"), None).words()


def test_much_is_asked_for_twice(monkeypatch):
    little, much = (prices.Cost(prices.rate_of("A10"), seconds) for seconds in (10.0, 10_000.0))
    prices.check_confirmed(little, "add --yes")
    for cost in (much, prices.Cost(prices.rate_of("A10"), None), prices.Cost(prices.rate_of("Z9"), 1.0)):
        with pytest.raises(PaidImages, match="add --yes"):
            prices.check_confirmed(cost, "add --yes")
    # Of runs whose time nobody knows yet as many as of hosted images.
    monkeypatch.setenv("DIFFATLAS_HOSTED_CONFIRM", "3")
    unknown = prices.Cost(prices.rate_of("A10"), None, runs=2)
    prices.check_confirmed(unknown, "add --yes")
    with pytest.raises(PaidImages, match="asks for 3 runs on Modal, an unknown time"):
        prices.check_confirmed(replace(unknown, runs=3), "add --yes")
    monkeypatch.setenv("DIFFATLAS_MODAL_CONFIRM", "0")
    prices.check_confirmed(much, "add --yes")
