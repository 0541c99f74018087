"""The archive: one child process that serves the embedded catalogue and writes runs and decisions into it."""

from agent_service.archive.child_process import Archive
from agent_service.archive.standalone import serve_catalog

__all__ = ["Archive", "serve_catalog"]
