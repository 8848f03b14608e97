"""Storage: bytes on a local disk, without a notion of objects.

``system`` makes every call that changes the disk, ``layout`` knows where things stand, ``files``
writes durably, ``locks`` and ``leases`` say who is alive, ``catalog`` is the SQLite file whose
commit is the only moment at which anything becomes visible.
"""
