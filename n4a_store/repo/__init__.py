"""The repository: objects, packs, refs and the catalog put together.

``Store`` opens it, ``Transaction`` changes it; everything else (fsck, gc, history, statistics)
is a function that takes a store.
"""
