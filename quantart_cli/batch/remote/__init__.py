"""The executor of many machines: workers on a Ray cluster paint, this process reads and writes everything.

So no file system is shared: a content goes to a worker as the bytes of its file and comes back as the bytes of the
output, and this process alone writes outputs and the ledger. A style is encoded by one worker, once, and lies in Ray's
object store for all. Each worker has a picture or two at hand, so memory stays flat. What a lost worker had is done
again by another; a picture that loses its worker again and again is taken for the cause, and fails.
"""

from __future__ import annotations

from quantart_cli.batch.remote.executor import remote_executor

__all__ = ["remote_executor"]
