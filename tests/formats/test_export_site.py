"""A folder for a static host: the page, and what hosts read beside it."""

from __future__ import annotations

import functools
import re
import threading
import urllib.request
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from diffatlas.errors import InvalidParams
from diffatlas.formats.html.page import html
from diffatlas.formats.html.site import site_files, write_site
from diffatlas.formats.named import Named
from tests.attended_runs import run_of

ODD = '"}--- \n# <script>alert(1)</script> \\ é: [x](javascript:1) ' + "a" * 300


@pytest.fixture(scope="module")
def runs():
    return [Named("mine", run_of(1))]


def test_the_page_is_that_of_the_html_export_and_is_served_as_one(runs, tmp_path):
    folder = write_site(runs, tmp_path / "site")
    assert (folder / "index.html").read_bytes() == html(runs)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_address[1]}/") as answer:
            assert answer.headers["Content-Type"] == "text/html"
            assert answer.read() == html(runs)
        server.shutdown()


def test_headers_are_lines_as_hosts_read_them(runs):
    """A path at the margin, headers with two spaces before them, each with a name and a value."""
    lines = site_files(runs)["_headers"].decode().splitlines()
    paths = [line for line in lines if not line.startswith(" ")]
    assert paths[0] == "/*"
    assert all(path.startswith("/") for path in paths)
    for line in lines:
        if line not in paths:
            name, mark, value = line.removeprefix("  ").partition(": ")
            assert mark, line
            assert name.replace("-", "").isalpha()
            assert value == value.strip() != ""
    assert "  X-Content-Type-Options: nosniff" in lines


@pytest.mark.parametrize("name", ["mine", ODD, "", "yes", "- a\n- b"])
def test_a_space_reads_the_readme_whatever_the_run_is_called(name):
    run = replace(run_of(1), params=run_of(1).params.replace(prompt=ODD))
    readme = site_files([Named(name, run)])["README.md"].decode()
    _, head, body = readme.split("---\n", 2)
    about = yaml.safe_load(head)
    assert (about["sdk"], about["app_file"]) == ("static", "index.html")
    assert isinstance(about["title"], str)
    assert set(about) == {"title", "sdk", "app_file", "pinned"}
    # Nothing of the prompt is markup.
    assert not re.search(r"(?<!\\)[<\[`*]", body)


def test_what_is_there_stays_unless_it_is_a_site_that_may_be_replaced(runs, tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / ".git").write_text("of git")
    write_site(runs, folder)
    assert (folder / ".git").read_text() == "of git"
    with pytest.raises(InvalidParams, match=r"holds \.nojekyll already"):
        write_site(runs, folder)
    write_site([Named("other", run_of(2))], folder, overwrite=True)
    assert b"other" in (folder / "index.html").read_bytes()
    (folder / "index.html").write_text("<html>somebody's own</html>")
    with pytest.raises(InvalidParams, match="is no page of Diffusion Atlas"):
        write_site(runs, folder, overwrite=True)
    assert (folder / "index.html").read_text() == "<html>somebody's own</html>"
    with pytest.raises(InvalidParams, match="is a file"):
        write_site(runs, folder / "index.html")
