"""The head and the foot of every page."""

from __future__ import annotations

import gradio as gr

import diffatlas

_HEADER = """
<header class="da-header">
  <h1>Diffusion Atlas</h1>
  <p>See how a diffusion model makes an image, one step at a time.</p>
  <nav class="da-nav" aria-label="Pages">
    <button type="button" data-page="trajectory" aria-current="page">Trajectory</button>
    <button type="button" data-page="sweep">Sweep</button>
    <button type="button" data-page="neighbourhood">Neighbourhood</button>
    <button type="button" data-page="attention">Attention</button>
    <button type="button" data-page="lab">2D Lab</button>
    <button type="button" data-page="library">Library</button>
  </nav>
  <button type="button" class="da-plain da-ink-switch"></button>
</header>
"""

_SWITCH = """
const button = element.querySelector(".da-ink-switch");
const dark = () => document.body.classList.contains("dark");
const name = () => { button.textContent = dark() ? "Light" : "Dark"; };
button.addEventListener("click", () => { document.body.classList.toggle("dark"); name(); });
new MutationObserver(name).observe(document.body, { attributeFilter: ["class"] });
name();
"""


def header() -> gr.HTML:
    """Title, one line, and the switch between ivory and near-black."""
    return gr.HTML(_HEADER, js_on_load=_SWITCH, apply_default_css=False, elem_id="header")


def footer() -> gr.HTML:
    """Version, licence, and the way to the API."""
    text = f'Diffusion Atlas {diffatlas.__version__}, MIT licence. <a href="?view=api">Use it from Python</a>'
    return gr.HTML(f'<footer class="da-footer">{text}</footer>', js_on_load=None, apply_default_css=False)
