"""A small registry of our own on loopback (OCI distribution-spec v1.1): push, pull, lists, referrers, deletion.

``storage`` keeps what was pushed as an OCI image layout, ``uploads`` what is on its way, ``requests`` answers HTTP,
``access`` says who may ask, ``server`` puts them together. ``images`` shows the images of a store instead, read-only.
"""
