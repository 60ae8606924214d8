import base64
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest

from diffatlas.formats.lettering import fit
from diffatlas.formats.named import Named
from diffatlas.formats.report import run as report


def contents(data: bytes) -> list[str]:
    """Return the content streams of the pages, in order, decoded."""
    pages = []
    for match in re.finditer(rb"<<([^>]*(?:>(?!>)[^>]*)*)>>\s*stream\r?\n(.*?)endstream", data, re.S):
        head, body = match.groups()
        if b"/Image" in head or b"/Length1" in head:
            continue
        if b"ASCII85" in head:
            body = base64.a85decode(body.strip().removesuffix(b"~>"))
        pages.append(zlib.decompress(body).decode("latin-1"))
    return [page for page in pages if " Tj" in page]


def words(page: str) -> list[str]:
    """Return the strings that a page draws."""
    strings = re.findall(r"\(((?:\\.|[^\\()])*)\) Tj", page)
    return [
        re.sub(r"\\([0-7]{3}|.)", lambda m: chr(int(m[1], 8)) if len(m[1]) == 3 else m[1], s) for s in strings
    ]


def text(data: bytes) -> str:
    found = " ".join(" ".join(words(page)) for page in contents(data))
    return found.encode("latin-1").decode("cp1252", "replace")


def lines(page: str) -> list[np.ndarray]:
    """Return the paths of straight lines that a page draws, (N, 2) points each."""
    found = []
    for path in re.findall(r"((?:[-\d.]+ [-\d.]+ [ml]\s+)+)", page):
        points = [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+) ([-\d.]+) [ml]", path)]
        found.append(np.array(points))
    return found


def count_pages(data: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", data))


@pytest.fixture(scope="module")
def data(run, sparse) -> bytes:
    return report.pdf([Named("first layer", run, "#7c2d36"), Named("second layer", sparse, "#2f7cb5")])


def test_it_says_what_was_asked_and_what_it_ran_on(data, run, sparse):
    said = text(data)
    for entry in (run, sparse):
        for fact in (entry.id, entry.params.scheduler, entry.provenance["dtype"], "64 x 64", entry.status):
            assert fact in said
    assert "first layer" in said
    assert run.params.prompt in said
    assert "Not: grey" in said
    assert run.provenance["revision"]["sha256"][:12] in said


def test_its_tables_hold_the_numbers_of_every_step(data, run, sparse):
    said = set(text(data).split())
    for entry in (run, sparse):
        for step in entry.steps:
            assert fit(step.sigma, 8, 5) in said
            for name in ("norm", "step_length", "mean", "std", "min", "max", "cosine_to_end"):
                assert fit(step.metrics[name], 8, 5) in said, name
    assert fit(float(np.linalg.norm(run.initial_latents.astype(np.float64))), 8, 5) in said


def test_its_curves_are_vectors_of_the_measured_values(data, run):
    drawn = [path for page in contents(data) for path in lines(page)]
    for name, first in (("norm", 0), ("step_length", 1), ("guidance_angle", 1)):
        values = np.array([step.metrics[name] for step in run.steps])
        if first == 0:
            values = np.r_[np.linalg.norm(run.initial_latents.astype(np.float64)), values]
        fitting = [
            path
            for path in drawn
            if len(path) == len(values)
            and np.corrcoef(path[:, 1], values)[0, 1] > 0.99999
            and np.ptp(np.diff(path[:, 0])) < 0.01
        ]
        assert fitting, name


def test_its_pictures_are_previews_and_images_only(data):
    # 5 previews and an image, 4 previews and an image; a picture drawn twice would be stored once.
    assert len(re.findall(rb"/Subtype /Image", data)) == 5 + 1 + 4 + 1


def test_pages_are_numbered(data):
    total = count_pages(data)
    assert [words(page)[-1] for page in contents(data)] == [f"{k} of {total}" for k in range(1, total + 1)]
    assert b"/Outlines" in data


def test_a_glossary_explains_the_terms_used(data, run):
    said = text(data)
    for entry in report.used_terms([Named("a", run)]):
        assert entry.name in said, entry.key
    bare = replace(run, steps=tuple(replace(s, preview=None) for s in run.steps))
    assert "entropy" not in {entry.key for entry in report.used_terms([Named("a", bare)])}


def test_markup_in_a_prompt_is_text(run):
    prompt = 'a </para><b>bold</b> & <img src="file:///etc/passwd"/> <a href="x">link</a> %s {} \\ (paren'
    said = text(report.pdf([Named("<i>name</i>", replace(run, params=run.params.replace(prompt=prompt)))]))
    # Each sign that had to be escaped is drawn on its own.
    drawn = "".join(said.split())
    assert "<i>name</i>" in drawn
    assert "".join(prompt.split()) in drawn


def test_characters_that_no_font_has_are_seen_to_be_missing(run):
    prompt = "Grün “é” 日本語 жук Łódź 🙂 \x00\ud800 σ ≤"
    data = report.pdf([Named("layer", replace(run, params=run.params.replace(prompt=prompt)))])
    said = text(data)
    assert "Grün “é” ¤¤¤ ¤¤¤" in said
    assert "lack (9 here)" in said  # three, three, ź, a face and a lone surrogate
    assert b"BitstreamVera" in data  # Ł comes with it
    assert "stands for a character" not in text(report.pdf([Named("Grün", run)]))
    # reportlab's own stand-in for what it lacks, a black square, is nowhere: (n) in ZapfDingbats.
    assert not any(re.search(r"\(n\) Tj", page) for page in contents(data))


def test_a_long_run_fits_a_sane_number_of_pages(run):
    steps = tuple(replace(run.steps[k % 5], index=k, preview=None) for k in range(900))
    long = replace(run, steps=steps, total_steps=900, params=run.params.replace(prompt="word " * 2000))
    data = report.pdf([Named("name " * 60, long)])
    assert 14 <= count_pages(data) <= 24
    tables = [page for page in contents(data) if "(to start) Tj" in page]
    assert len(tables) >= 12  # the head of the table, on each of its pages
    numbers = [word for page in tables for word in words(page)]
    assert {str(k) for k in range(901)} <= set(numbers)


def test_the_same_runs_give_the_same_bytes(layers, data):
    assert report.pdf(layers) == data
