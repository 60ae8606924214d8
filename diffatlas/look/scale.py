"""Sizes of type and of the space between things, in pixels, each said once."""

#: Sizes of type by name, from the least to the most.
TYPE = {
    "tiny": 10,
    "fine": 11,
    "small": 12,
    "note": 13,
    "text": 14,
    "body": 15,
    "lead": 16,
    "head": 17,
    "title": 19,
    "large": 21,
    "huge": 24,
    "vast": 30,
}
#: Space between things and around them, by its number.
SPACE = (2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36)
