"""Layers as values: index, tar form, merged view, efficiency and comparison. Pure."""
