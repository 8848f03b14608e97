"""Porcelain: `n4a-store artifacts …` for people. Destructive commands preview by default."""
