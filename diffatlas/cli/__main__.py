"""``python -m diffatlas.cli`` is the same as ``diffatlas``."""

from diffatlas.cli import main

main()
