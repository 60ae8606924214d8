"""Any Atlas as a server of runs for another: the other end of `diffatlas.backends.remote` (docs/remote.md)."""
