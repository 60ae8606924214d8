"""``python -m diffatlas`` is ``diffatlas``."""

from diffatlas.cli import main

if __name__ == "__main__":
    main()
