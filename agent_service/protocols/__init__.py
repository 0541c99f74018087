"""Protocols of the parts: what a brain, an executor, a journal, a document source and a plan sink must do.

All other code uses these; only ``service/compose.py`` names the classes that implement them.
"""

from agent_service.protocols.brains import (
    Brain as Brain,
    BrainHandle as BrainHandle,
    Executor as Executor,
    LogNotice as LogNotice,
    Notice as Notice,
    ProgressNotice as ProgressNotice,
    R as R,
    Ts as Ts,
)
from agent_service.protocols.devices import (
    READBACKS as READBACKS,
    SETPOINTS as SETPOINTS,
    Devices as Devices,
    DeviceWords as DeviceWords,
    SignalReading as SignalReading,
    Signals as Signals,
    SignalWatch as SignalWatch,
)
from agent_service.protocols.documents import (
    Completer as Completer,
    Document as Document,
    DocumentSource as DocumentSource,
    Intake as Intake,
)
from agent_service.protocols.journals import (
    FactRow as FactRow,
    JournalReader as JournalReader,
    JournalStore as JournalStore,
    Seqs as Seqs,
)
from agent_service.protocols.plans import (
    MOVE as MOVE,
    SERVICE_STOPS as SERVICE_STOPS,
    ExitStatus as ExitStatus,
    HasEnvironment as HasEnvironment,
    MeasuredBy as MeasuredBy,
    PlanOrder as PlanOrder,
    PlanResult as PlanResult,
    PlanSink as PlanSink,
)
