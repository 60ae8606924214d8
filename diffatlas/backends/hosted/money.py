"""What images of hosted models cost, and how many may be paid for in a day.

Before each paid creation the backend asks `reserve`, which counts it, and refuses it where a cap of the settings is
reached. The counts of the day are in one small database (`Settings.hosted_ledger`), so that a restart or ``kill -9``
forgets none of them and several processes share them. No key is in it, and of a visitor only what no name can be read
from. A day ends at midnight UTC.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from diffatlas.errors import BackendFailure, OverBudget, PaidImages
from diffatlas.registry import hosted_model
from diffatlas.settings import is_shared, settings

log = logging.getLogger("diffatlas")

#: Seconds that another process may be at the ledger.
BUSY_SECONDS = 10.0
#: Whose images are counted apart: those that nobody is asked for by name, and those that visitors pay for themselves.
_HOST, _OWN_KEYS = "", "own keys"
_TABLE = """CREATE TABLE IF NOT EXISTS made (
    day TEXT, provider TEXT, who TEXT, images INTEGER, dollars REAL, unpriced INTEGER, PRIMARY KEY (day, provider, who)
)"""


@dataclass(frozen=True)
class Priced:
    """So many images of one hosted model."""

    provider: str
    model: str
    #: The model's name in the registry.
    name: str
    images: int
    #: US dollars of all of them; None where the registry knows no price.
    dollars: float | None

    def words(self) -> str:
        """Return it in words, with where the price is from."""
        from diffatlas.backends.hosted import provider_of

        what = f"{images_words(self.images)} of {self.name} at {provider_of(self.provider).label}"
        if self.dollars is None:
            return f"{what}, at a price that models/{self.provider}.md does not know"
        return f"{what}, about {dollars_words(self.dollars)} by the price in models/{self.provider}.md"


@dataclass(frozen=True)
class Estimate:
    """What a request of hosted images is expected to cost, model by model."""

    parts: tuple[Priced, ...] = ()

    @property
    def images(self) -> int:
        """How many there are in all."""
        return sum(part.images for part in self.parts)

    @property
    def dollars(self) -> float | None:
        """US dollars of all of them; None where the price of one is not known."""
        known = [part.dollars for part in self.parts if part.dollars is not None]
        return sum(known) if len(known) == len(self.parts) else None

    def words(self) -> str:
        """Return it in words, to go into a sentence: "12 images of FLUX.1 dev at Replicate, about $0.30 by ..."."""
        words = "; ".join(part.words() for part in self.parts)
        if len(self.parts) < 2 or self.dollars is None:
            return words or images_words(0)
        return f"{words}; in all {images_words(self.images)}, about {dollars_words(self.dollars)}"


@dataclass(frozen=True)
class Count:
    """How many hosted images were made, and about what they cost."""

    images: int = 0
    #: US dollars of those whose price is known.
    dollars: float = 0.0
    #: How many have no known price.
    unpriced: int = 0

    def words(self) -> str:
        """Return it in words: "14 images, about $0.35"."""
        words = images_words(self.images)
        if self.images > self.unpriced:
            words += f", about {dollars_words(self.dollars)}"
        if self.unpriced:
            words += f", {self.unpriced if self.images > self.unpriced else 'all'} at an unknown price"
        return words


class Ledger:
    """The count of a day's paid images, in one file. Safe from any thread, and for several processes.

    Its methods raise `BackendFailure` where the file cannot be used: what is not counted is not paid for.
    """

    def __init__(self, path: Path, today: Callable[[], str] | None = None) -> None:
        self._path = path
        self._today = today or (lambda: datetime.now(UTC).date().isoformat())

    def reserve(
        self, provider: str, dollars: float | None = None, visitor: str | None = None
    ) -> Callable[[], None]:
        """Count an image that is about to be paid for; return what takes it back, for one that was not paid.

        provider: as in `diffatlas.registry.HOSTED`. dollars: what it costs in US dollars, None where that is unknown.
        visitor: who asks for it with the host's key on a shared server; None on a personal installation, and for a
        key of one's own, whose images are counted there and held against no cap of the host's.

        Raises `OverBudget`, which names the setting, where it may not be made.
        """
        day = self._today()
        chosen, shared = settings(), is_shared()
        own_key = shared and visitor is None
        who = _OWN_KEYS if own_key else _HOST if visitor is None else _unnamed(visitor, day)
        row = (day, provider, who)
        cost = (dollars or 0.0, int(dollars is None))
        with self._writing() as db:
            db.execute("DELETE FROM made WHERE day < ?", (day,))
            if visitor is not None:
                if not chosen.hosted_for_visitors:
                    raise OverBudget(
                        "The keys of this server's host do not serve its visitors (DIFFATLAS_HOSTED_FOR_VISITORS): "
                        "type a key of your own in Settings.",
                        field="key",
                    )
                of_visitor = _sum(db, "day = ? AND who = ?", (day, who)).images
                of_all = _sum(db, "day = ? AND who NOT IN (?, ?)", (day, _HOST, _OWN_KEYS)).images
                for name, most, made, whom in (
                    ("HOSTED_VISITOR_IMAGES", chosen.hosted_visitor_images, of_visitor, "each visitor"),
                    ("HOSTED_DAILY_IMAGES", chosen.hosted_daily_images, of_all, "all visitors together"),
                ):
                    if made >= most:
                        raise OverBudget(
                            f"This server pays for {images_words(most)} a day for {whom} (DIFFATLAS_{name}), and they "
                            "are made: come back after midnight UTC, or type a key of your own in Settings."
                        )
            cap = 0 if own_key else chosen.hosted_cap
            if cap and _sum(db, "day = ? AND who <> ?", (day, _OWN_KEYS)).images >= cap:
                raise OverBudget(
                    f"The {images_words(cap)} of hosted models that DIFFATLAS_HOSTED_CAP allows in a day are made: "
                    "set it higher (0 for no cap), or go on after midnight UTC."
                )
            db.execute("INSERT OR IGNORE INTO made VALUES (?, ?, ?, 0, 0, 0)", row)
            _add(db, row, 1, cost)
        once = threading.Lock()

        def give_back() -> None:
            if not once.acquire(blocking=False):
                return
            try:
                with self._writing() as db:
                    _add(db, row, -1, cost)
            except BackendFailure as error:
                # What the run failed with matters more, and the count only forbids one image too early.
                log.warning("%s", error)

        return give_back

    def made_today(self, provider: str | None = None, visitor: str | None = None) -> Count:
        """Return how many images were paid for today, at one provider or at all of them.

        visitor: of whom those are counted that the host of a shared server paid for; None for everybody's.
        """
        if not self._path.exists():
            return Count()
        day = self._today()
        asked = {"day": day, "provider": provider, "who": visitor and _unnamed(visitor, day)}
        asked = {name: value for name, value in asked.items() if value is not None}
        with self._writing() as db:
            return _sum(db, " AND ".join(f"{name} = ?" for name in asked), tuple(asked.values()))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield the database, which is this process's and thread's alone until the block is left."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            with closing(connection) as db:
                db.execute("BEGIN IMMEDIATE")
                db.execute(_TABLE)
                yield db
                db.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise BackendFailure(
                f"The day's count of paid images cannot be kept in {self._path.name} "
                f"({getattr(error, 'strerror', None) or error}): make that file writable, delete it, or name another "
                "one in DIFFATLAS_HOSTED_LEDGER."
            ) from error


def ledger() -> Ledger:
    """Return the ledger of this installation."""
    return _ledger(settings().hosted_ledger)


def reserve(provider: str, dollars: float | None = None, visitor: str | None = None) -> Callable[[], None]:
    """See `Ledger.reserve`, of this installation's."""
    return ledger().reserve(provider, dollars, visitor)


def made_today(provider: str | None = None, visitor: str | None = None) -> Count:
    """See `Ledger.made_today`, of this installation's."""
    return ledger().made_today(provider, visitor)


def estimate(cells: Sequence[tuple[str, str, int | None, int | None]]) -> Estimate:
    """Return what images are expected to cost: each is (provider, model, width, height), sides in pixels or None.

    Raises `diffatlas.registry.RegistryError` where a provider has no registry.
    """
    grouped: dict[tuple[str, str], list[float | None]] = {}
    for provider, model, width, height in cells:
        dollars = hosted_model(model, provider).dollars(width, height)
        grouped.setdefault((provider, model), []).append(dollars)
    parts = []
    for (provider, model), prices in grouped.items():
        known = [price for price in prices if price is not None]
        dollars = sum(known) if len(known) == len(prices) else None
        parts.append(Priced(provider, model, hosted_model(model, provider).name, len(prices), dollars))
    return Estimate(tuple(parts))


def check_confirmed(expected: Estimate, instead: str) -> None:
    """Raise `PaidImages` where a request is to be confirmed before it is paid for (`is_much`).

    instead: how to confirm it, to end the sentence.
    """
    if is_much(expected):
        raise PaidImages(f"This asks for {expected.words()}: {instead}.", asked=expected.words())


def is_much(expected: Estimate) -> bool:
    """Return whether these are as many images as are to be confirmed (`Settings.hosted_confirm`; 0 for never)."""
    return 0 < settings().hosted_confirm <= expected.images


def dollars_words(dollars: float) -> str:
    """Return US dollars in words: "$0.30", and of less than a dime with the digits that there are, "$0.003"."""
    return f"${dollars:,.2f}" if dollars >= 0.1 or dollars == 0 else f"${dollars:.2g}"


def images_words(count: int) -> str:
    """Return "1 image", "12 images"."""
    return f"{count:,} image{'' if count == 1 else 's'}"


def _unnamed(visitor: str, day: str) -> str:
    """Return a name that stays with a visitor for a day, and from which nobody can tell who it is."""
    return hashlib.sha256(f"{day} {visitor}".encode()).hexdigest()[:32]


def _sum(db: sqlite3.Connection, where: str, values: tuple[str, ...]) -> Count:
    sums = "COALESCE(SUM(images), 0), COALESCE(SUM(dollars), 0.0), COALESCE(SUM(unpriced), 0)"
    return Count(*db.execute(f"SELECT {sums} FROM made WHERE {where}", values).fetchone())


def _add(db: sqlite3.Connection, row: tuple[str, str, str], images: int, cost: tuple[float, int]) -> None:
    dollars, unpriced = cost
    db.execute(
        "UPDATE made SET images = images + ?, dollars = dollars + ?, unpriced = unpriced + ?"
        " WHERE day = ? AND provider = ? AND who = ?",
        (images, images * dollars, images * unpriced, *row),
    )


@lru_cache(maxsize=8)
def _ledger(path: Path) -> Ledger:
    return Ledger(path)
