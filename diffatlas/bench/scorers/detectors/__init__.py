"""Detectors of transformers behind one small protocol: what is seen in images, as boxes of classes."""
