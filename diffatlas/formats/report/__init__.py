"""PDF reports of runs and of studies, and figures drawn as vectors for them."""
