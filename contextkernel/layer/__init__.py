"""Layers as values: index, tar form, merged view, content digests, efficiency and comparison. Pure."""
