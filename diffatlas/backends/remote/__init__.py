"""Another Atlas as a backend: the client of the protocol that docs/remote.md describes."""
