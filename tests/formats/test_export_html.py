"""The page without a server: what it holds, how large it is, and that it holds nothing else."""

from __future__ import annotations

import base64
import json
import re
import zlib

import numpy as np
import pytest

from diffatlas import figures
from diffatlas.attention.compare import js
from diffatlas.attention.trace import AttentionTrace
from diffatlas.errors import InvalidParams
from diffatlas.formats.html import bundle as html_bundle
from diffatlas.formats.html import data as html_data
from diffatlas.formats.html import page as html_page
from diffatlas.formats.html.data import kept_tokens, quantised
from diffatlas.formats.kinds import KINDS, export
from diffatlas.formats.named import Named
from diffatlas.look import NIGHT, PAPER
from diffatlas.run import Run
from diffatlas.ui.wire.calls import CALLS
from tests.attended_runs import WORDS, run_of


def named(run: Run, name: str = "a red circle and a blue square") -> Named:
    return Named(name, run)


def data_of(page: bytes) -> dict:
    found = re.search(rb'id="data">([^<]*)</script>', page)
    return json.loads(zlib.decompress(base64.b64decode(found[1])))


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def opened(maps: dict) -> np.ndarray:
    """Maps as the page opens them."""
    levels = np.frombuffer(base64.b64decode(maps["levels"]), np.uint8).reshape(
        -1, maps["rows"], maps["columns"]
    )
    return levels / 255 * floats(maps["scales"])[:, None, None]


def test_maps_are_those_of_the_run_to_the_rounding_it_states():
    run = run_of()
    (told,) = data_of(export("html", [named(run)]))["runs"]
    trace = AttentionTrace.of(run)
    kept = kept_tokens(trace.tokens)
    assert [trace.tokens[i].text for i in kept] == ["<|startoftext|>", *WORDS, "<|endoftext|>"]
    for look, layers in (("all", None), ("down", "down"), ("up", "up")):
        wanted = trace.within(layers).maps(tokens=kept).reshape(-1, *trace.within(layers).grid)
        found = opened(told["looks"][look]["maps"])
        most = wanted.reshape(len(wanted), -1).max(1)[:, None, None]
        assert (np.abs(found - wanted) <= most / 510 + 1e-7).all()
    activation = floats(told["looks"]["all"]["activation"]).reshape(3, -1)
    np.testing.assert_allclose(activation, trace.activation()[:, kept], rtol=1e-5)
    np.testing.assert_allclose(told["looks"]["all"]["kl"][1:], trace.kl()[1:], rtol=1e-5)
    np.testing.assert_allclose(told["looks"]["down"]["entropy"], trace.entropy()[:, 0], rtol=1e-5)
    np.testing.assert_allclose(opened(told["daam"]), trace.daam()[kept], atol=trace.daam().max() / 500)


def blocks(count: int) -> dict:
    """The layers of a transformer of so many blocks."""
    return {f"blocks.{i}.attn2": ((6, 4), i) for i in range(count)}


def test_a_transformer_is_looked_at_by_thirds_of_its_blocks():
    run = run_of(cross=blocks(7))
    (told,) = data_of(export("html", [named(run)]))["runs"]
    assert told["parts"] == {"first": "blocks 0 to 2", "middle": "blocks 3 to 4", "last": "blocks 5 to 6"}
    trace = AttentionTrace.of(run)
    kept = kept_tokens(trace.tokens)
    wanted = np.mean([trace.maps(layers=f"blocks.{i}", tokens=kept) for i in (3, 4)], axis=0).reshape(
        -1, 6, 4
    )
    np.testing.assert_allclose(opened(told["looks"]["middle"]["maps"]), wanted, atol=wanted.max() / 500)


def test_only_parts_that_both_runs_have_are_kept():
    unlike = data_of(export("html", [named(run_of(0)), named(run_of(1, cross=blocks(3)))]))
    assert [run["parts"] for run in unlike["runs"]] == [{}, {}]
    alike = data_of(export("html", [named(run_of(0, cross=blocks(2))), named(run_of(1, cross=blocks(2)))]))
    assert set(alike["divergence"]) == {"all"}
    beside_none = data_of(export("html", [named(run_of(0)), named(run_of(1, cross={}))]))
    assert set(beside_none["runs"][0]["parts"]) == {"down", "up"}


def test_what_is_left_out_of_a_long_prompt_is_counted(monkeypatch):
    monkeypatch.setattr(html_data, "MOST_TOKENS", 6)
    (told,) = data_of(export("html", [named(run_of())]))["runs"]
    # Of the beginning, seven words and 69 ends, the beginning and five words are kept.
    assert (told["kept"], told["words_left"], told["padding_left"]) == (6, 2, 69)


def test_an_empty_map_stays_empty():
    assert not opened(quantised(np.zeros((1, 2, 3)))).any()


def test_path_and_divergence_of_two_runs():
    a, b = run_of(0), run_of(1)
    data = data_of(export("html", [named(a, "one"), named(b, "two")]))
    stack = np.concatenate([run.latents.reshape(4, -1) for run in (a, b)]).astype(np.float64)
    centred = stack - stack.mean(0)
    singular = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(data["path"]["axes"], (singular**2 / (singular**2).sum())[:2], rtol=1e-5)
    points = np.concatenate([np.array(run) for run in data["path"]["coords"]])
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), singular[:2], rtol=1e-5)
    found = js(AttentionTrace.of(a), AttentionTrace.of(b))
    told = data["divergence"]["all"]["first"]["light"]
    np.testing.assert_allclose(mean_of(told), found.by_step, rtol=1e-5)
    # Only padding is left out of the tokens that are compared.
    assert told["layouts"]["1"]["meta"]["pairs"] == [[k, k] for k in range(9)]
    # A part's divergence is that of its layers, as the maps beside it are.
    down = js(*(AttentionTrace.of(run).within("down") for run in (a, b)))
    np.testing.assert_allclose(mean_of(data["divergence"]["down"]["second"]["dark"]), down.by_step, rtol=1e-5)
    assert np.abs(down.by_step - found.by_step).max() > 1e-3


def mean_of(figure: dict) -> list:
    """The mean over the words in a figure of divergence."""
    return next(trace["y"] for trace in figure["data"] if trace["meta"].get("mean"))


@pytest.mark.parametrize(("ground", "dark"), [("light", False), ("dark", True)])
def test_its_figures_are_those_that_python_makes(ground, dark):
    a, b = run_of(0), run_of(1)
    data = data_of(export("html", [named(a, "one"), named(b, "two")]))
    up = AttentionTrace.of(a).within("up")
    on = NIGHT if dark else PAPER
    made = [
        (data["runs"][0]["looks"]["up"]["curves"], figures.attention_curves(up, dark)),
        (data["runs"][0]["looks"]["up"]["words"]["prompt"], figures.attention_words(up, dark)),
        (
            data["runs"][0]["looks"]["up"]["words"]["prompt_by_row"],
            figures.attention_words(up, dark, by_row=True),
        ),
        (data["divergence"]["all"]["first"], figures.attention_divergence(a, b, dark)),
        (data["divergence"]["all"]["second"], figures.attention_divergence(b, a, dark)),
        (data["latents"], figures.curves([a, b], colours=[on.burgundy, on.ink], dark=dark)),
    ]
    for found, wanted in made:
        drawn, (told, *_) = found[ground]["data"], found[ground]["layouts"].values()
        assert len(drawn) == len(wanted.data)
        for one, other in zip(drawn, json.loads(wanted.to_json())["data"], strict=True):
            values = "z" if one["type"] == "heatmap" else "y"
            np.testing.assert_allclose(
                np.array(one[values], float), np.array(other[values], float), rtol=1e-5
            )
            assert one.get("line") == other.get("line")
        assert told["meta"]["says"] == wanted.layout.meta["says"]


def test_runs_that_have_no_common_basis_or_no_attention_say_why():
    data = data_of(export("html", [named(run_of(0)), named(run_of(1, side=8, cross={}))]))
    assert data["path"] is None
    assert "shape" in data["why_no_path"]
    assert "not captured in both" in data["divergence"]["all"]["error"]["message"]
    assert data["runs"][1]["looks"] == {}
    assert len(data["runs"][1]["steps"]) == 3


def test_the_page_is_of_one_run_or_two():
    with pytest.raises(InvalidParams, match="one run or two"):
        export("html", [named(run_of(i)) for i in range(3)])
    assert KINDS["html"].suffix == ".html"


def test_what_a_stranger_typed_ends_no_element():
    evil = "</script><img src=x onerror=alert(1)></title>"
    page = export("html", [named(run_of(prompt=evil), evil)])
    assert b"onerror" not in page.replace(b"&lt;img src=x onerror=alert(1)&gt;", b"")
    assert page.count(b"</script>") == 3
    assert data_of(page)["runs"][0]["run"]["prompt"] == evil


def test_nothing_is_fetched():
    page = export("html", [named(run_of())]).decode()
    assert "default-src 'none'" in page
    sources = html_bundle.modules("viewer/viewer.js").values()
    style = html_bundle.sheets("core/page.css", "attention/attention.css", "viewer/offline.css")
    for text in (*sources, style):
        for address in re.findall(r"""https?://[^\s"')]+""", text):
            assert address.startswith("http://www.w3.org/"), address
        assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|gradio_api", text)


def test_every_module_that_is_imported_is_there():
    sources = html_bundle.modules("viewer/viewer.js")
    imports = json.loads(html_bundle.import_map(sources))["imports"]
    for name, source in sources.items():
        bare = base64.b64decode(imports[f"da/{name}"].split(",")[1]).decode()
        assert re.findall(r'from "\.', bare) == [], name
        assert len(re.findall(r'from "\.', source)) == len(re.findall(r'from "da/', bare))
        for wanted in re.findall(r'from "(da/[^"]+)"', bare):
            assert wanted in imports
    # Of the app, what draws; never what talks to a server of Gradio.
    assert not {"pages.js", "exports.js", "carry.js", "jobs.js"} & {
        name.rpartition("/")[2] for name in sources
    }


def test_the_page_asks_itself_by_the_names_of_the_app_s_calls():
    server = (html_bundle.VIEWER / "offline.js").read_text(encoding="utf-8")
    answered = set(re.findall(r"^    (\w+): async ", server, re.MULTILINE))
    assert {"attention", "word_maps", "divergence"} <= answered <= set(CALLS)


#: Stable Diffusion's layout at 512 pixels: sixteen layers of cross-attention.
SD = {
    **{f"down.{i}": ((n, n), "down") for i, n in enumerate((64, 64, 32, 32, 16, 16))},
    "mid.0": ((8, 8), "mid"),
    **{f"up.{i}": ((n, n), "up") for i, n in enumerate((16, 16, 16, 32, 32, 32, 64, 64, 64))},
}


@pytest.mark.slow
def test_a_run_of_24_steps_stays_under_15_megabytes():
    runs = [named(run_of(seed, steps=24, cross=SD, side=64, pixels=512)) for seed in range(2)]
    one, two = export("html", runs[:1]), export("html", runs)
    assert len(one) < 15e6
    assert len(two) < 15e6
    # In full: with the maps of the parts, at 32 cells.
    for page in (one, two):
        data = data_of(page)
        assert set(data["runs"][0]["looks"]) == {"all", "down", "mid", "up"}
        assert data["cells"] == 32


def test_detail_is_given_up_before_the_limit_is():
    run = named(run_of(steps=4))
    whole = html_page.html([run])
    less = html_page.html([run], most_bytes=len(whole) - 1)
    assert len(less) < len(whole)
    (told,) = data_of(less)["runs"]
    assert set(told["looks"]) == {"all"}
    assert told["parts"] == {}  # nothing is offered that is not there
    with pytest.raises(InvalidParams, match="MB"):
        html_page.html([run], most_bytes=1000)
