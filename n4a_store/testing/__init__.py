"""The test kit: what tries to break a store, shipped so that anybody can run it on their own disk.

Nothing in the library imports it.
"""
