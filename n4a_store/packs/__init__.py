"""Packs: many objects in one immutable, self-indexed file, as pure functions over bytes.

``format`` holds the layout constants, ``entry`` one object's header, ``compression`` the codecs,
``index`` the sorted index, ``writer`` and ``reader`` the whole. Nothing here opens a file.
"""
