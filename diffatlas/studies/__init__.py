"""Studies, said once for every page and file: their words and their numbers."""
