"""The object database: many packs searched as one."""
