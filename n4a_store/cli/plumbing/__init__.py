"""Plumbing: one small file per command, stable output, bulk input where git has it."""
