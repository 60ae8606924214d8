"""The address under which others reach the app, in words and as a QR code: for a terminal, and for the page."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from diffatlas.errors import InvalidParams

MOST_ADDRESS = 300
#: An address that nobody has (RFC 5737), to which nothing is sent: asked only which way would lead there.
_FAR = "192.0.2.1"
_EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Invitation:
    """How others come here.

    address: what to give out; "" where nobody else can come, or where it is not known. words: one sentence on it.
    given: whether the server was told it, rather than found it out.
    """

    address: str
    words: str
    given: bool = False


@dataclass(frozen=True)
class Code:
    """A QR code. size: modules of a side, with the quiet ones around; path: its dark modules, as an SVG path has it."""

    size: int
    path: str


def invitation(host: str, port: int, share_url: str | None = None, named: str = "") -> Invitation:
    """Return how others come to an app that listens at ``host`` and ``port``.

    share_url: its address at Gradio, where it has one. named: what the installation says that its address is.
    """
    if named:
        return Invitation(named, "This is the address that was set for this server.", True)
    if share_url:
        return Invitation(
            share_url,
            "Everybody who has this link reaches the app, through Gradio's server, for as long as it runs here and at "
            "most a week.",
            True,
        )
    if _is_loopback(host):
        return Invitation(
            "",
            f"Only this machine reaches {host}: start it with --host 0.0.0.0 for those on the same network.",
        )
    own = lan_address() if host in _EVERYWHERE else host
    if own is None:
        return Invitation(
            "",
            "The address of this machine is not known, because no network has a way out: look it up (ip address), and "
            "give it with --address.",
        )
    return Invitation(
        f"http://{f'[{own}]' if ':' in own else own}:{port}/",
        "Whoever is on the same network reaches the app there, unless a firewall, a container or a guest network that "
        "keeps its devices apart is in between.",
    )


def lan_address() -> str | None:
    """Return this machine's address on the network that its default route leads through; None where there is none.

    Nothing is sent: a socket of datagrams that is given a goal has the address of the way there.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((_FAR, 9))
            found = way.getsockname()[0]
    except OSError:
        return None
    return None if _is_loopback(found) or found in _EVERYWHERE else found


def check_address(text: str) -> str:
    """Return an address of the app, whole. Raises `InvalidParams` for what is none."""
    parts = urlsplit(text.strip())
    plain = text.isascii() and text.strip().isprintable() and " " not in text.strip()
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or not plain
        or len(text) > MOST_ADDRESS
        or parts.username
        or parts.password
    ):
        raise InvalidParams(
            f"The address {text!r:.60} is none: write it as a browser shows it, such as https://atlas.example.org/.",
            field="address",
        )
    return text.strip()


def is_for_others(address: str) -> bool:
    """Whether an address of the app, as a browser has it, leads others here too: it does not name their own machine."""
    try:
        host = urlsplit(check_address(address)).hostname or ""
    except (InvalidParams, ValueError):
        return False
    return not _is_loopback(host) and host not in _EVERYWHERE


def code(address: str) -> Code:
    """Return the QR code of an address, which still reads where 15 % of it cannot be seen (level M)."""
    import segno

    rows = list(segno.make(address, error="m", micro=False).matrix_iter(border=4))
    runs = []
    for y, row in enumerate(rows):
        x = 0
        while x < len(row):
            length = 0
            while x + length < len(row) and row[x + length]:
                length += 1
            if length:
                runs.append(f"M{x} {y}h{length}v1h-{length}z")
            x += length or 1
    return Code(len(rows), "".join(runs))


def terminal_code(address: str, colours: bool) -> str:
    """Return the QR code of an address as lines for a terminal, two rows of modules a line.

    colours: whether the terminal has some; then it is dark on light whatever its own are, else as light as its letters.
    """
    import segno

    rows = [list(row) for row in segno.make(address, error="m", micro=False).matrix_iter(border=3)]
    rows += [[0] * len(rows[0])] * (len(rows) % 2)
    marks = " \u2584\u2580\u2588" if colours else "\u2588\u2580\u2584 "
    begin, end = ("\x1b[38;5;16;48;5;231m", "\x1b[0m") if colours else ("", "")
    lines = (
        "".join(marks[2 * bool(above) + bool(below)] for above, below in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    )
    return "".join(f"{begin}{line}{end}\n" for line in lines)


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
