"""The embedded model's world: coloured shapes on a plain ground, their captions, their detector."""
