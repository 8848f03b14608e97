"""Objects: what the store keeps, as values without any I/O.

``oid`` names them, ``model`` holds them, ``codec`` turns them into canonical bytes and back.
"""
