"""How the app's own events are wired: not in its API, and without a bar of progress."""

from __future__ import annotations

from typing import Any

#: Nothing shows progress. With outputs that might, the page copies all that every one of them holds at each event, and
#: asks for frames of animation as long as an event lasts.
HIDDEN: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": []}
PRIVATE: dict[str, Any] = {"api_visibility": "private", **HIDDEN}
