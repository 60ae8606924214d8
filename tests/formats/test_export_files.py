"""Writing runs to a file that its ending names."""

import pytest

from diffatlas import write
from diffatlas.capture import observe
from diffatlas.errors import InvalidParams
from diffatlas.formats.kinds import KINDS


@pytest.fixture(scope="module")
def trace(shapes_pipe):
    from diffatlas.capture import Capture

    with observe(shapes_pipe, Capture(previews="every")) as trace:
        shapes_pipe("a red circle", num_inference_steps=3)
    return trace


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_and_its_run_give_one_file(trace, kind, tmp_path):
    suffix = KINDS[kind].suffix
    first = write(trace, tmp_path / f"a{suffix}")
    second = write([trace.run], tmp_path / "deeper" / f"b{suffix}")
    assert first.stat().st_size == pytest.approx(second.stat().st_size, rel=0.01)
    assert first.read_bytes()[:4] == second.read_bytes()[:4]


def test_what_is_there_is_kept(trace, tmp_path):
    path = write(trace, tmp_path / "a.csv")
    with pytest.raises(InvalidParams, match="exists already"):
        write(trace, path)
    assert write(trace, path, overwrite=True) == path


@pytest.mark.parametrize(
    ("runs", "name", "words"),
    [
        ("trace", "a.doc", "names no kind of export"),
        ("x", "a.csv", "A str is no run"),
        ([], "a.csv", "no run to export"),
        ("twice", "a.gif", "shows one run"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(trace, tmp_path, runs, name, words):
    runs = {"trace": trace, "twice": [trace, trace]}.get(runs, runs) if isinstance(runs, str) else runs
    with pytest.raises(InvalidParams, match=words):
        write(runs, tmp_path / name)
