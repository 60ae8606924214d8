"""What the pages ask of the server and what they are answered, typed: one registry, `diffatlas.ui.wire.calls.CALLS`."""
