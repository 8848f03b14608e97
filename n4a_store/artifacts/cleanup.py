"""Cleaning up: every deletion is a change of refs, and gc does the rest.

Nothing here looks at files. What no ref reaches is an orphan; what the reflog can still bring
back is kept until the undo window has passed. Content that anything else references stays.
"""

from __future__ import annotations

import logging

from n4a_store.artifacts.manifest_tree import PIPELINES, PipelineManifest
from n4a_store.artifacts.runs import OpenRun
from n4a_store.errors import ObjectNotFoundError
from n4a_store.objects.model import RunStatus

__all__ = ["drop_completed"]

log = logging.getLogger(__name__)


def drop_completed(run: OpenRun) -> int:
    """Take back what an open run has completed, in one commit; the number of artifacts.

    Each pipeline goes back to what it was before the run, or away when there was nothing.
    """
    if not run.completed:
        return 0
    dropped = 0
    with run.store.transaction(f"take back run {run.id}", action="cleanup") as txn:
        for pipeline_id, oid in run.completed.items():
            manifest = PipelineManifest.read(run.store, pipeline_id, oid)
            dropped += len(manifest.artifacts)
            ref = run.store.find_ref(PIPELINES + pipeline_id)
            if ref is None or ref.oid != oid:
                continue  # another run has completed it since: that one stays
            before = run.before.get(pipeline_id)
            try:
                if before is not None:
                    txn.set_ref(ref.name, before, oid)
                else:
                    txn.delete_ref(ref.name, oid)
            except ObjectNotFoundError:
                txn.delete_ref(ref.name, oid)
            log.info("run %s: took back pipeline %s", run.id, pipeline_id)
        run.set_run(txn, {}, RunStatus.FAILED)
    run.completed.clear()
    return dropped
