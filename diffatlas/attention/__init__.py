"""Reading what was captured of attention: tokens, words, maps, and what is measured of them. Runs no model."""
