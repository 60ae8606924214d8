"""The embedded models' world: coloured shapes on a plain ground, their captions, their detector."""

#: The models of this world: what their pictures show can be read exactly (`detect`).
EMBEDDED = ("shapes", "shapes-dit")
