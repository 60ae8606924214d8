"""Hugging Face datasets of runs: written (`write`, `card`), read without trust (`read`), put on the Hub (`hub`)."""
