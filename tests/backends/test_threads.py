"""How many threads a model computes with: one for a small one in the shell and the app, else as many as there are."""

import json
import os
import subprocess
import sys
import threading

import pytest
import torch

from diffatlas.backends import threads
from diffatlas.backends.threads import as_many_as, asking_for, computing_with, fitting

#: What the shell does before it runs a command, and what a run of the embedded model then says that it computed with.
SHELL = """
import json, sys
from diffatlas.waiting_threads import let_threads_sleep
from diffatlas.backends.threads import compute_small_models_with_one
if sys.argv[1] == "shell":
    let_threads_sleep()
    compute_small_models_with_one()
import torch
from diffatlas import GenerationParams
from diffatlas.operations.trace import shared_local_backend
from diffatlas.backends.threads import as_many_as
torch.set_num_threads(2)
def number(events):
    return next(e for e in events if hasattr(e, "provenance")).provenance["threads"]
def run():
    return shared_local_backend().trace(GenerationParams(prompt="a red circle", num_inference_steps=1))
print(json.dumps([number(run()), number(as_many_as(2, run())), torch.get_num_threads()]))
"""


@pytest.fixture
def small_with_one(monkeypatch):
    monkeypatch.setattr(threads, "_small_with_one", True)


def test_the_number_is_that_of_one_thread_alone():
    """A thread that begins to compute while another computes with fewer, or afterwards, has as many as ever."""
    before = torch.get_num_threads()

    def elsewhere():
        found = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    with computing_with(before + 1):
        assert (torch.get_num_threads(), elsewhere()) == (before + 1, before)
        with computing_with(1):
            assert (torch.get_num_threads(), elsewhere()) == (1, before)
        assert torch.get_num_threads() == before + 1
    assert (torch.get_num_threads(), elsewhere()) == (before, before)


def test_where_openmp_is_not_found_the_number_holds_all_the_same(monkeypatch):
    from threadpoolctl import ThreadpoolController

    nothing = ThreadpoolController().select(user_api="there is none")
    assert not nothing.info()
    monkeypatch.setattr(threads, "_openmp", lambda: nothing)
    before = torch.get_num_threads()
    with computing_with(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("place", "expected"), [("shell", [1, 2, 2]), ("notebook", [2, 2, 2])])
def test_a_small_model_has_one_thread_where_idle_ones_sleep(place, expected):
    """Not in a notebook, where a plain call beside ours must give the same bits; a replay has what its run had."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", SHELL, place], capture_output=True, text=True, check=True, env=environment
    )
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"OMP_WAIT_POLICY": "passive"}, True),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, False),
        ({}, False),
        ({"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "2"}, False),
    ],
)
def test_who_says_how_threads_wait_or_how_many_there_are_is_heeded(monkeypatch, given, expected):
    monkeypatch.setattr(threads, "_small_with_one", None)
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    threads.compute_small_models_with_one()
    assert threads._small_with_one is expected


def test_a_large_model_has_as_many_as_there_are(small_with_one):
    large = torch.nn.Linear(10_000, threads.SMALL // 10_000, device="meta")
    with computing_with(2), fitting([large]):
        assert torch.get_num_threads() == 2
    with computing_with(2), fitting([torch.nn.Linear(2, 2)]):
        assert torch.get_num_threads() == 1


def test_what_is_asked_for_goes_before_the_size(small_with_one):
    small = [torch.nn.Linear(2, 2)]
    with asking_for(2), fitting(small):
        assert torch.get_num_threads() == 2
    with computing_with(2), asking_for(None), fitting(small):
        assert torch.get_num_threads() == 1

    def events():
        with fitting(small):
            yield torch.get_num_threads()

    with computing_with(2):
        assert list(as_many_as(2, events())) == [2]
        assert list(as_many_as("two", events())) == [1]
        assert torch.get_num_threads() == 2
