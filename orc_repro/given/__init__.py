"""Pivots that were trained elsewhere: declared, read, and checked before anything learns from them.

Nothing here trains, so no stage depends on this code: what comes out is known by its own hash.
"""
