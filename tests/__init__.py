"""The tests. A package, so that none that a library has left behind is taken for it."""
