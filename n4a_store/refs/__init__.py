"""Refs: the names of roots. ``names`` holds the grammar, ``refs`` the values and their changes."""
