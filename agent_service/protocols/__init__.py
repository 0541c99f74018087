"""Protocols of the parts: what a brain, an executor, a journal, a document source and a plan sink must do.

All other code uses these; only ``service/compose.py`` names the classes that implement them.
"""

from agent_service.protocols.brains import Brain, BrainHandle, Executor, LogNotice, Notice, ProgressNotice, R, Ts
from agent_service.protocols.devices import (
    READBACKS,
    SETPOINTS,
    Devices,
    DeviceWords,
    SignalReading,
    Signals,
    SignalWatch,
)
from agent_service.protocols.documents import Completer, Document, DocumentSource, Intake
from agent_service.protocols.journals import FactRow, JournalReader, JournalStore, Seqs
from agent_service.protocols.plans import (
    MOVE,
    SERVICE_STOPS,
    ExitStatus,
    HasEnvironment,
    MeasuredBy,
    PlanOrder,
    PlanResult,
    PlanSink,
)

__all__ = [
    "MOVE",
    "READBACKS",
    "SERVICE_STOPS",
    "SETPOINTS",
    "Brain",
    "BrainHandle",
    "Completer",
    "DeviceWords",
    "Devices",
    "Document",
    "DocumentSource",
    "Executor",
    "ExitStatus",
    "FactRow",
    "HasEnvironment",
    "Intake",
    "JournalReader",
    "JournalStore",
    "LogNotice",
    "MeasuredBy",
    "Notice",
    "PlanOrder",
    "PlanResult",
    "PlanSink",
    "ProgressNotice",
    "R",
    "Seqs",
    "SignalReading",
    "SignalWatch",
    "Signals",
    "Ts",
]
