import threading

import pytest

from diffatlas.backends.producer import QUEUE_SIZE, stream
from diffatlas.events import Step


def steps(n):
    return [Step(i, 0.0, 0.0) for i in range(n)]


def test_events_arrive_in_order_and_from_one_thread():
    threads = set()

    def work(put, stopping):
        for step in steps(3 * QUEUE_SIZE):
            threads.add(threading.get_ident())
            put(step)

    assert list(stream(work)) == steps(3 * QUEUE_SIZE)
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_closing_frees_a_producer_that_waits_on_a_full_queue():
    state = {}

    def work(put, stopping):
        for step in steps(10 * QUEUE_SIZE):
            put(step)
            if stopping():
                break
        state["last"] = step.index

    events = stream(work)
    next(events)
    events.close()
    # It has returned: closing joins the thread.
    assert state["last"] < 10 * QUEUE_SIZE - 1


def test_the_queue_is_bounded():
    made = []
    full = threading.Event()

    def work(put, stopping):
        for step in steps(QUEUE_SIZE + 20):
            made.append(step)
            if len(made) == QUEUE_SIZE + 2:
                full.set()
            put(step)

    events = stream(work)
    next(events)
    full.wait(10)
    assert len(made) <= QUEUE_SIZE + 2
    assert len(list(events)) == QUEUE_SIZE + 19


def test_what_the_work_raises_is_raised_after_its_events():
    def work(put, stopping):
        put(steps(1)[0])
        raise RuntimeError("broken")

    events = stream(work)
    assert next(events) == steps(1)[0]
    with pytest.raises(RuntimeError, match="broken"):
        next(events)


def test_nothing_runs_before_the_first_next():
    ran = []
    events = stream(lambda put, stopping: ran.append(1))
    events.close()
    assert not ran


def test_it_computes_with_as_many_threads_as_its_caller():
    """A limit of OpenMP holds for the thread that set it; a run must give what the plain call on that thread gives."""
    import torch
    from threadpoolctl import threadpool_limits

    before, seen = torch.get_num_threads(), []
    for number in (1, 2, 3):
        with threadpool_limits(number, user_api="openmp"):
            assert torch.get_num_threads() == number
            list(stream(lambda put, stopping: seen.append(torch.get_num_threads())))
    assert seen == [1, 2, 3]
    assert torch.get_num_threads() == before
    other = []
    thread = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert other == [before]
