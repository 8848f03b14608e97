"""A content-addressed store for the fitted artifacts of machine-learning pipelines."""

__version__ = "0.1.0"
