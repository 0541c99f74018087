"""The models of HTTP, of the journal and of both clients.

Requests refuse unknown fields, so that a typing mistake is an error and no surprise. Readers of answers ignore unknown
fields, so that an old client can use a newer service. Times are ISO 8601 in UTC, durations are in seconds.
"""

from agent_service.models._agent_status import (
    AgentDevices as AgentDevices,
    AgentList as AgentList,
    AgentStatus as AgentStatus,
    BestList as BestList,
    BestPoint as BestPoint,
    Busy as Busy,
    CallProgress as CallProgress,
    Counts as Counts,
    LastError as LastError,
    Progress as Progress,
    RestartAs as RestartAs,
)
from agent_service.models._agents import (
    AgentPatch as AgentPatch,
    AgentSpec as AgentSpec,
    LoopSpec as LoopSpec,
    RestartSpec as RestartSpec,
    RunRule as RunRule,
    Timeouts as Timeouts,
    foreign_names as foreign_names,
)
from agent_service.models._approval import by_hand as by_hand
from agent_service.models._base import (
    ID_KEY as ID_KEY,
    MAX_POINTS as MAX_POINTS,
    UID_DETAIL as UID_DETAIL,
    AgentName as AgentName,
    Answer as Answer,
    Ends as Ends,
    Finite as Finite,
    Number as Number,
    Point as Point,
    Request as Request,
    Uid as Uid,
    Value as Value,
    is_uid as is_uid,
    utcnow as utcnow,
    utf8 as utf8,
)
from agent_service.models._brains import (
    AgentTypeInfo as AgentTypeInfo,
    AgentTypeList as AgentTypeList,
    Method as Method,
    MethodAnswer as MethodAnswer,
    MethodCall as MethodCall,
    MethodList as MethodList,
    Prediction as Prediction,
    PredictRequest as PredictRequest,
    Report as Report,
    ReportList as ReportList,
    Variable as Variable,
    VariableList as VariableList,
    VariableValue as VariableValue,
)
from agent_service.models._conditions import (
    ConditionList as ConditionList,
    ConditionSpec as ConditionSpec,
    ConditionState as ConditionState,
    ConditionStatus as ConditionStatus,
    SignalValue as SignalValue,
    Suspender as Suspender,
)
from agent_service.models._events import (
    DocumentBatch as DocumentBatch,
    DocumentsAnswer as DocumentsAnswer,
    Event as Event,
    EventKind as EventKind,
    EventList as EventList,
)
from agent_service.models._guardrails import Guardrails as Guardrails, ServiceGuardrails as ServiceGuardrails
from agent_service.models._points import (
    POINT_COLUMNS as POINT_COLUMNS,
    PointColumn as PointColumn,
    PointPage as PointPage,
)
from agent_service.models._service import (
    ArchiveStatus as ArchiveStatus,
    DeviceInfo as DeviceInfo,
    DeviceList as DeviceList,
    Job as Job,
    JobList as JobList,
    JobState as JobState,
    LoginCodeAnswer as LoginCodeAnswer,
    NotifyStatus as NotifyStatus,
    PanelKeyAnswer as PanelKeyAnswer,
    PanelKeyRequest as PanelKeyRequest,
    Problem as Problem,
    ProblemField as ProblemField,
    QueueState as QueueState,
    QueueStatus as QueueStatus,
    Readiness as Readiness,
    ReadyPart as ReadyPart,
    ServiceStatus as ServiceStatus,
    SessionAnswer as SessionAnswer,
    SessionRequest as SessionRequest,
    SourceState as SourceState,
    SourceStatus as SourceStatus,
    SuspectRun as SuspectRun,
)
from agent_service.models._suggestions import (
    PREDICTION_KEY as PREDICTION_KEY,
    REASON_KEY as REASON_KEY,
    ApproveAllRequest as ApproveAllRequest,
    ApproveRequest as ApproveRequest,
    Claim as Claim,
    ClaimRequest as ClaimRequest,
    GoToBestRequest as GoToBestRequest,
    IngestAnswer as IngestAnswer,
    IngestRequest as IngestRequest,
    ProposeRequest as ProposeRequest,
    RejectRequest as RejectRequest,
    ReleaseRequest as ReleaseRequest,
    RenewRequest as RenewRequest,
    Retold as Retold,
    SuggestAnswer as SuggestAnswer,
    Suggestion as Suggestion,
    SuggestionList as SuggestionList,
    SuggestRequest as SuggestRequest,
)
