"""Layers as values: index, tar form, merged view and comparison. Pure."""
