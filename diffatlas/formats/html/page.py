"""A page of one run or two that needs no server: everything in one file, which fetches nothing."""

from __future__ import annotations

import base64
import html as escaping
import json
import zlib
from collections.abc import Sequence
from hashlib import sha256

from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.formats.hosted import hosted_run
from diffatlas.formats.html.bundle import import_map, modules, serif, sheets
from diffatlas.formats.html.data import DETAILS, page_data
from diffatlas.formats.named import Named, plain
from diffatlas.look import variables
from diffatlas.measured import unseen

#: What a page may take, in bytes.
MOST_BYTES = 15_000_000
_START = 'import "da/viewer/viewer.js";'
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title} · Diffusion Atlas</title>
<style>
{style}
</style>
<script type="importmap">{imports}</script>
</head>
<body>
<main id="page">
<p class="da-offline-wait">Opening… It needs a browser of 2023 or later that may run the scripts in this file.</p>
</main>
<script type="application/octet-stream" id="data">{data}</script>
<script type="module">{start}</script>
</body>
</html>
"""


def html(runs: Sequence[Named], most_bytes: int = MOST_BYTES) -> bytes:
    """Return the page, at most ``most_bytes`` long: what `DETAILS` names is given up, in its order, until it fits.

    Raises `InvalidParams` for more than two runs, or where even the least detail does not fit; `CapabilityError` for
    a run without a step.
    """
    if len(runs) > 2:
        raise InvalidParams(
            f"An HTML page shows one run or two beside each other, not {len(runs)}: choose two."
        )
    for entry in runs:
        if hosted := hosted_run(entry.run.provenance):
            raise CapabilityError(f"{hosted.why} A page shows a run’s steps: export its report instead.")
        if not entry.run.steps:
            why = unseen(entry.run.provenance) or "choose one that has begun."
            raise CapabilityError(f"The run {entry.run.id} has no step to show: {why}")
    title = " / ".join(dict.fromkeys(plain(entry.name) for entry in runs))
    style = (
        serif()
        + variables()
        + sheets(
            "core/page.css",
            "runs/viewer.css",
            "runs/space.css",
            "trajectory/deep.css",
            "attention/attention.css",
            "figures/figure.css",
            "viewer/offline.css",
        )
    )
    imports = import_map(modules("viewer/viewer.js"))
    for detail in DETAILS:
        data = packed(page_data(runs, detail))
        page = _PAGE.format(
            policy=_policy(imports, _START),
            title=escaping.escape(title),
            style=style,
            imports=imports,
            data=data,
            start=_START,
        ).encode()
        if len(page) <= most_bytes:
            return page
    raise InvalidParams(
        f"The page would take {len(page) / 1e6:.1f} MB, over the {most_bytes / 1e6:.0f} MB that it may: "
        "export one run, or capture fewer steps (attention_every)."
    )


def _policy(*scripts: str) -> str:
    """Nothing but what the file itself holds, and of scripts in the page no others than these."""
    own = " ".join(
        f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" for text in scripts
    )
    return "; ".join(
        (
            "default-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            f"script-src {own} data:",
            "script-src-attr 'none'",
            "style-src 'unsafe-inline'",
            "img-src data:",
            "font-src data:",
        )
    )


def packed(data: object) -> str:
    """Return JSON deflated (zlib, RFC 1950), as base64: letters that end no element of a page."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()
