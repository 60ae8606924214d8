"""How the app's own events are wired: not in its API, and without a bar of progress."""

from __future__ import annotations

from typing import Any

#: Nothing shows progress. With outputs that might, the page copies all that every one of them holds at each event, and
#: asks for frames of animation as long as an event lasts.
HIDDEN: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": []}
PRIVATE: dict[str, Any] = {"api_visibility": "private", **HIDDEN}
#: Of what is said at once of fields that change several times in a row: each change is heard, and the answer to the
#: last one comes last. Gradio's "always_last" asks anew for all that hangs on a field: two such events keep each other
#: going.
IN_ORDER: dict[str, Any] = {"trigger_mode": "multiple", "concurrency_limit": 1, **PRIVATE}
