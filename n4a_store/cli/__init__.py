"""The commands: plumbing like git's, porcelain for people.

A command parses, makes one library call and renders the answer. Nothing here is imported by
the library, and nothing heavy is imported before the command that needs it runs.
"""
