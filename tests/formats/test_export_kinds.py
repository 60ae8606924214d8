import pytest

from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.formats.kinds import KINDS, export, file_name
from diffatlas.formats.lettering import fit, wrap
from diffatlas.formats.named import Named, plain

HEADS = {
    "csv": b"layer,run,step,",
    "json": b"{",
    "npz": b"PK\x03\x04",
    "safetensors": None,  # begins with the length of its header
    "pdf": b"%PDF-",
    "svg": b"<svg ",
    "png": b"\x89PNG",
    "gif": b"GIF89a",
    "mp4": b"\x00\x00\x00",
    "html": b"<!doctype html>",
    "charts": b"<!doctype html>",
    "zip": b"PK\x03\x04",
}


def is_of(key, data):
    return data[8:9] == b"{" if key == "safetensors" else data.startswith(HEADS[key])


def test_every_kind_makes_its_file(layers):
    assert list(KINDS) == list(HEADS)
    for key, kind in KINDS.items():
        runs = layers[: kind.most]
        assert is_of(key, export(key, runs))
        assert kind.suffix == {"charts": "-charts.html"}.get(key, f".{key}")


def test_names_of_files(layers, run):
    assert file_name("csv", layers) == "diffatlas-2-layers.csv"
    assert file_name("pdf", layers[:1]) == "diffatlas-first-layer.pdf"
    assert file_name("gif", [Named("../Ünïcode & more/", run)]) == "diffatlas-unicode-more.gif"
    assert file_name("gif", [Named("日本", run)]) == "diffatlas-run.gif"


def test_what_cannot_be_asked_is_refused(layers):
    for kind, runs, says in (
        ("doc", layers, "csv, json"),
        ("csv", [], "no run"),
        ("gif", layers, "one run, not 2"),
    ):
        for call in (export, file_name):
            with pytest.raises(InvalidParams, match=says):
                call(kind, runs)
    for colour in ("red", '#fff" onload="x', None, "#12345"):
        with pytest.raises(InvalidParams, match="#rrggbb"):
            Named("a", layers[0].run, colour)


def test_runs_that_lack_something_are_exported_too(odd_runs):
    for name, run in odd_runs.items():
        for key in KINDS:
            try:
                data = export(key, [Named(name, run)])
            except CapabilityError:
                assert key in ("gif", "mp4", "html")
                assert all(step.preview is None for step in run.steps)
                assert key != "html" or not run.steps
            else:
                assert is_of(key, data)


def test_all_exports_survive_an_empty_name(run):
    for key in KINDS:
        assert export(key, [Named("", run)])


def test_plain_text_keeps_what_can_be_shown():
    assert plain("a\tb\r\nc") == "a b c"
    assert plain("a\x00b\x1b[31m") == "ab[31m"
    assert plain("\u202eevil\u202c \u2066x\u2069") == "evil x"
    assert plain("a\ud800\uffff") == "a\ufffd\ufffd"
    assert plain("日本 👩\u200d🚀") == "日本 👩\u200d🚀"


@pytest.mark.parametrize(
    ("value", "width", "wanted"),
    [
        (None, 6, "–"),
        (0.0, 6, "0"),
        (4096.0, 6, "4096"),
        (0.0292133, 6, "0.0292"),
        (-0.00123456, 6, "-0.001"),
        (31.682146, 6, "31.68"),
        (1234567.0, 6, "1.23e6"),
        (1e-7, 6, "1e-7"),
        (float("nan"), 6, "nan"),
    ],
)
def test_numbers_fit_their_column(value, width, wanted):
    assert fit(value, width) == wanted
    assert len(fit(value, width)) <= width


def test_lines_are_wrapped_by_cells():
    assert wrap("one two three", 7, 5) == ["one two", "three"]
    assert wrap("日本日本日", 4, 5) == ["日本", "日本", "日"]
    assert wrap("abcdefghij", 4, 5) == ["abcd", "efgh", "ij"]
    assert wrap("", 4, 5) == []
    assert wrap("one two three four", 5, 2) == ["one", "two …"]
