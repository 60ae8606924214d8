"""What a visitor does on the pages, for every test in a browser."""

from __future__ import annotations

from typing import Any

PATIENCE = 120_000  # ms; generous, because the machine may be busy
STATUS = "document.querySelector('.da-viewer').dataset.status"
#: How many lines the curves of the Trajectory page have.
CURVES = "document.querySelectorAll('.da-page-trajectory .da-curves .da-figure .js-line').length"
#: The numbers of the run in sight, by their names.
NUMBERS = """[...document.querySelectorAll('.da-section-image dt')]
    .map((name) => [name.innerText, name.nextElementSibling.innerText])"""


def numbers(page: Any) -> dict[str, str]:
    """Return the numbers of the run in sight by their names, read in one go: they are drawn anew now and then."""
    return dict(page.evaluate(NUMBERS))


def fill(page: Any, field: str, value: object) -> None:
    page.fill(f"#field-{field} :is(input, textarea)", str(value))


def press_run(page: Any, **fields: object) -> None:
    """Fill the fields and press Run."""
    for field, value in fields.items():
        fill(page, field, value)
    page.click("#field-run")


def run(page: Any, **fields: object) -> str:
    """Run a prompt, wait until its layer is there, and return the run's id."""
    before = page.evaluate("document.querySelector('.da-layer.da-temporary')?.dataset.id ?? ''")
    press_run(page, **fields)
    page.wait_for_function(
        f"""before => {{
            const layer = document.querySelector('.da-layer.da-temporary');
            return layer && layer.dataset.id !== before && {STATUS} === 'complete'
                && !layer.querySelector('.da-lock').disabled;
        }}""",
        arg=before,
    )
    return page.evaluate("document.querySelector('.da-layer.da-temporary').dataset.id")


def lock(page: Any) -> None:
    """Lock the temporary layer."""
    page.click(".da-layer.da-temporary .da-lock")
    page.wait_for_function("!document.querySelector('.da-layer.da-temporary')")


def view(page: Any, name: str) -> None:
    """Choose a view of the Trajectory page."""
    page.click(f".da-tab[data-view={name}]")
