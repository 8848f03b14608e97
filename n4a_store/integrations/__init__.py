"""Doors into other programs: each module serves one, and only where it is installed."""
