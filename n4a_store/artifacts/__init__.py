"""Fitted artifacts in a store: ids, records, the registry that writes, the loader that reads."""
