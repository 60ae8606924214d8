"""What the pages ask of the server and what they are answered, typed: one registry, `diffatlas.ui.wire.calls.CALLS`.

What is asked is read into its data class at one place, where a call is answered (`diffatlas.ui.answers.answered`): a
field that is missing, unknown, empty or of another kind is refused in a sentence that names it. Answers are plain JSON
and are not looked at on their way, unless ``DIFFATLAS_CHECK_ANSWERS`` is set, as it is in every test: then one that is
not exactly what its typed dict says fails. ``tests/ui/test_wire_in_scripts.py`` holds the scripts of the pages against
the same types by reading them, and says what that does not find. A JSON schema of any type is
`diffatlas.ui.wire.call.schema_of`.
"""
