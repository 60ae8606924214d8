"""Start Diffusion Atlas: ``python app.py``."""

from __future__ import annotations

from diffatlas.ui.app import launch

if __name__ == "__main__":
    launch()
