"""Two visitors of a shared server, which is served as it is: one asks for much, the other for a little."""

from __future__ import annotations

import threading

import pytest

from tests.serving import served_app
from tests.visitors import Visitor


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served_app(tmp_path_factory.mktemp("served"), DIFFATLAS_MODE="shared") as url:
        yield url


def test_one_run_is_not_behind_all_those_of_another_visitor(address):
    one, other = Visitor(address), Visitor(address)
    # The model is loaded and its pace is known.
    list(one.stream("trace", prompt="a red circle", steps=4))
    ended, refused, waits = [], [], []
    began, lock = threading.Event(), threading.Lock()

    def run(visitor, name, seed):
        value = None
        # The first takes long enough for the others to come meanwhile.
        steps = 40 if seed == 100 else 6
        for value in visitor.stream("trace", prompt="a red circle", steps=steps, seed=seed):
            if value["steps"]:
                began.set()
            if name == "other" and value["status"] == "waiting":
                waits.append((value["ahead"], value["wait"]))
        with lock:
            (ended if value["status"] == "complete" else refused).append((name, value["error"]))

    threads = [threading.Thread(target=run, args=(one, "one", 100 + k)) for k in range(6)]
    for number, thread in enumerate(threads):
        thread.start()
        if number == 0:
            assert began.wait(60)
    # Three wait, and two are told that three do.
    for _ in range(600):
        if len(refused) == 2:
            break
        threading.Event().wait(0.05)
    assert [error["message"] for _, error in refused] == [
        "You have 3 runs waiting already; stop one or wait."
    ] * 2
    threads.append(threading.Thread(target=run, args=(other, "other", 200)))
    threads[-1].start()
    for thread in threads:
        thread.join(120)
    assert [name for name, _ in ended] == ["one", "other", "one", "one", "one"]
    assert {ahead for ahead, _ in waits} == {1}
    assert all(wait.startswith("about ") for _, wait in waits)
