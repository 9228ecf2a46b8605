"""Verified fakes, for this project's tests and for those of its users; injected by argument, never by patching.

``stores``: a store in a temporary directory and random images. ``build_fakes``: a store, a worker and a runtime in
memory, for builds without a kernel. ``fake_engine``: an engine with canned rows, for faces. ``registry``: our own
registry in a thread, for what pushes and pulls.
"""
