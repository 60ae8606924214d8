"""What is fetched from the web: only from where it may be, only so much, and every failure is a sentence."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time

import pytest

from diffatlas.address import is_public, read_url, resolve
from diffatlas.errors import InvalidParams
from diffatlas.formats.source import fetch
from diffatlas.formats.source.fetch import Absent, Fetching
from diffatlas.stopping import Stopped, ended_by

BODY = bytes(range(256)) * 40


def fetched(url, path, ending=".bin", own=True, most=100_000, **options):
    with Fetching(own, most, **options) as fetching:
        fetching.save(url, path, ending)
    return path.read_bytes()


def refusal(*args, **options) -> str:
    with pytest.raises(InvalidParams) as caught:
        fetched(*args, **options)
    assert caught.value.field == "source"
    said = caught.value.message
    assert "\n" not in said
    return said


def test_a_file_comes_as_it_is_and_a_connection_is_kept(server, tmp_path):
    server.files |= {"/a.bin": BODY, "/b.bin": BODY[:7]}
    with Fetching(True, 100_000) as fetching:
        fetching.save(f"{server.url}/a.bin", tmp_path / "a", ".bin")
        fetching.save(f"{server.url}/b.bin", tmp_path / "b", ".bin")
        assert fetching.left == 100_000 - len(BODY) - 7
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (BODY, BODY[:7])
    assert len(server.connections) == 1


def test_a_connection_that_the_server_gave_up_is_opened_again(server, tmp_path):
    server.files["/a.bin"] = BODY

    def last(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"ab")
        handler.close_connection = True  # without saying so

    server.answers["/last.bin"] = last
    with Fetching(True, 100_000) as fetching:
        fetching.save(f"{server.url}/last.bin", tmp_path / "a", ".bin")
        time.sleep(0.1)
        fetching.save(f"{server.url}/a.bin", tmp_path / "b", ".bin")
    assert (tmp_path / "b").read_bytes() == BODY


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001::1",
    ],
)
def test_addresses_that_are_not_public(address):
    assert not is_public(ipaddress.ip_address(address))
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    with pytest.raises(InvalidParams, match="no address of the public network"):
        resolve(read_url(url), own=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_addresses_that_are_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "127.1", "017700000001", "localhost", "LOCALHOST."]
)
def test_this_machine_by_another_spelling_is_refused_to_a_stranger(host, server):
    with pytest.raises(InvalidParams):
        resolve(read_url(f"http://{host}/"), own=False)


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "[::ffff:169.254.169.254]", "[fe80::1]"])
def test_where_a_cloud_keeps_its_secrets_is_reached_by_nobody(host):
    with pytest.raises(InvalidParams):
        resolve(read_url(f"http://{host}/"), own=True)


def test_ones_own_server_is_reached_on_ones_own_machine_only(server, tmp_path):
    server.files["/a.bin"] = BODY
    port = server.url.rpartition(":")[2]
    assert fetched(f"{server.url}/a.bin", tmp_path / "a") == BODY
    assert fetched(f"http://localhost:{port}/a.bin", tmp_path / "b") == BODY
    assert "127.0.0.1 is no address of the public network" in refusal(
        f"{server.url}/a.bin", tmp_path / "c", own=False
    )
    assert server.asked == ["/a.bin"] * 2


def answering(monkeypatch, **names):
    """Have the resolver of this process answer for names as a DNS server would, each time the next of its answers."""
    real = socket.getaddrinfo

    def answer(host, port, *args, **options):
        if host not in names:
            return real(host, port, *args, **options)
        found = names[host].pop(0) if len(names[host]) > 1 else names[host][0]
        return [entry for one in found for entry in real(one, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("answers", [["127.0.0.1"], ["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"]])
def test_a_name_that_leads_to_a_private_address_is_refused(server, tmp_path, monkeypatch, answers, own):
    """Also to who owns the machine: the name is somebody else's."""
    server.files["/a.bin"] = BODY
    answering(monkeypatch, **{"evil.example": [answers]})
    port = server.url.rpartition(":")[2]
    assert "no address of the public network" in refusal(
        f"http://evil.example:{port}/a.bin", tmp_path / "a", own=own
    )
    assert server.asked == []


def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(server, tmp_path, monkeypatch):
    """A name that is public when it is asked for first, and this machine from then on."""
    server.files["/a.bin"] = BODY
    answering(monkeypatch, **{"evil.example": [["192.0.2.1"], ["127.0.0.1"]]})
    monkeypatch.setattr("diffatlas.address.is_public", lambda ip: str(ip) == "192.0.2.1")
    port = server.url.rpartition(":")[2]
    refusal(f"http://evil.example:{port}/a.bin", tmp_path / "a", own=False, silence=0.3)
    assert server.asked == []


def test_redirects_are_followed_where_they_may_lead_and_no_further(server, tmp_path):
    server.files["/end.bin"] = BODY
    server.redirect("/two", "/end.bin")
    assert fetched(server.redirect("/one", f"{server.url}/two"), tmp_path / "a") == BODY
    cases = {
        "http://10.0.0.1/secret": "no address of the public network",
        "http://169.254.169.254/latest/meta-data": "no address of the public network",
        # Of one's own, but not where one asked.
        f"http://localhost:{server.url.rpartition(':')[2]}/end.bin": "no address of the public network",
        "file:///etc/passwd": "only http and https are fetched",
        "ftp://127.0.0.1/a": "only http and https are fetched",
        "gopher://127.0.0.1/a": "only http and https are fetched",
        "http://user:secret@example.org/": "it holds a name or password",
        "": "redirected to nowhere",
        "/loop": "redirected more than 5 times",
        "http://[": "no proper address",
    }
    for to, said in cases.items():
        found = refusal(server.redirect("/loop", to), tmp_path / "b")
        assert said in found, to
        assert "secret@" not in found


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://example.org/a.zip", "only http and https"),
        ("http://", "no proper address"),
        ("http://exam ple.org/", "no proper address"),
        ("http://example.org\r\nX: y/", "no proper address"),
        ("http://example.org:99999999/", "no proper address"),
        ("http://a\\b/", "no proper address"),
        ("http://" + "a" * 3000, "no proper address"),
        ("http://me:secret@example.org/", "name or password"),
        ("http://no-such-host.invalid/", "no host no-such-host.invalid"),
        ("http://127.0.0.1:1/a.bin", "cannot be reached"),
    ],
)
def test_addresses_that_cannot_be_fetched(url, said, tmp_path):
    found = refusal(url, tmp_path / "a")
    assert said in found
    assert "secret" not in found


def test_a_server_that_hangs_is_left(server, tmp_path):
    free = threading.Event()
    server.answers["/a.bin"] = lambda handler: free.wait(20) and None
    assert "silent for 0.3 seconds" in refusal(f"{server.url}/a.bin", tmp_path / "a", silence=0.3)

    def drips(handler):
        """A byte now and then is no silence."""
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.end_headers()
        while not free.wait(0.05):
            handler.wfile.write(b"a")

    server.answers["/drips.bin"] = drips
    assert "took more than 0.7 seconds" in refusal(
        f"{server.url}/drips.bin", tmp_path / "b", most_seconds=0.7
    )

    def drips_headers(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not free.wait(0.05):
            handler.wfile.write(b"a")

    server.answers["/head.bin"] = drips_headers
    assert "took more than 0.7 seconds" in refusal(f"{server.url}/head.bin", tmp_path / "c", most_seconds=0.7)
    free.set()


def test_too_much_is_refused_said_or_not(server, tmp_path):
    server.files["/a.bin"] = BODY
    assert "larger than the 1 KB" in refusal(f"{server.url}/a.bin", tmp_path / "a", most=1000)
    # A server that sends more than it says: what it said is all that is taken.
    url = server.says("/more.bin", BODY, Content_Length="10")
    assert fetched(url, tmp_path / "b", most=1000) == BODY[:10]
    # One that says nothing.
    assert "larger than the 1 KB" in refusal(server.says("/un.bin", BODY), tmp_path / "c", most=1000)
    chunk = b"%x\r\n%s\r\n" % (len(BODY), BODY)
    url = server.says("/chunks.bin", chunk * 3, Transfer_Encoding="chunked")
    assert "larger than the 1 KB" in refusal(url, tmp_path / "d", most=1000)
    # And one that sends less.
    url = server.says("/less.bin", BODY, Content_Length=str(len(BODY) + 5))
    assert "broke off after 10.2 KB" in refusal(url, tmp_path / "e")
    url = server.says("/cut.bin", b"ff\r\nabc", Transfer_Encoding="chunked")
    assert "broke off" in refusal(url, tmp_path / "f")


def test_what_is_left_goes_down_with_every_file(server, tmp_path):
    server.files["/a.bin"] = BODY
    with Fetching(True, len(BODY) + 5) as fetching:
        fetching.save(f"{server.url}/a.bin", tmp_path / "a", ".bin")
        with pytest.raises(InvalidParams, match="larger than the 5 bytes"):
            fetching.save(f"{server.url}/a.bin", tmp_path / "b", ".bin")


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Content_Type": "text/html; charset=utf-8"}, 200, "it is a web page, not a .zip file"),
        ({"Content_Type": "image/svg+xml"}, 200, "it is image/svg+xml, not a .zip file"),
        ({"Content_Encoding": "gzip"}, 200, "packed in a way"),
        ({}, 403, "the server answers 403"),
        ({}, 500, "the server answers 500"),
        ({}, 206, "the server answers 206"),
    ],
)
def test_other_answers_than_a_file(server, tmp_path, headers, status, said):
    url = server.says("/a.zip", b"PK", status, **headers)
    assert said in refusal(url, tmp_path / "a", ending=".zip")


def test_what_is_not_there_is_told_apart(server, tmp_path):
    with pytest.raises(Absent, match="there is nothing at it"):
        fetched(f"{server.url}/none.bin", tmp_path / "a")


def test_what_is_no_web_server_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer():
            for _ in range(2):
                connection, _ = other.accept()
                connection.recv(1000)
                connection.sendall(b"220 mail ready\r\n\r\n")
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        port = other.getsockname()[1]
        assert "does not answer as a web server" in refusal(f"http://127.0.0.1:{port}/", tmp_path / "a")
        assert "certificate is not accepted" in refusal(f"https://127.0.0.1:{port}/", tmp_path / "b")


def test_no_proxy_of_this_machine_is_used(server, tmp_path, monkeypatch):
    """Behind one, the address that is connected to could not be looked at."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.files["/a.bin"] = BODY
    assert fetched(f"{server.url}/a.bin", tmp_path / "a") == BODY


def test_it_ends_where_nobody_waits(server, tmp_path):
    server.files["/a.bin"] = BODY
    with pytest.raises(Stopped), ended_by(lambda: True):
        fetched(f"{server.url}/a.bin", tmp_path / "a")


def test_every_kind_of_file_of_a_folder_has_its_types():
    assert set(fetch.TYPES) == {".json", ".png", ".zip", ".npz", ".bin"}
