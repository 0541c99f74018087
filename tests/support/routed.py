"""Documents on their way to those who are told which run each is of, with no gate before them."""

from agent_service.documents.assembler import RunAssembler
from agent_service.documents.run_of_document import PARTS, Routed, runs_named
from agent_service.documents.spool import Spool


class Routing:
    """Tells which run a document is of, repeated or not."""

    def __init__(self):
        self._parts = {}
        self._run_of_part = {}

    def __len__(self):
        return len(self._parts) + len(self._run_of_part)

    def route(self, name, document):
        run = ""
        if name == "start":
            uid = document.get("uid")
            run = uid if isinstance(uid, str) else ""
            if run:
                self._parts.setdefault(run, set())
        elif (found := self._named_by(name, document)) in self._parts:
            run = found
            if name == "stop":
                for part in self._parts.pop(run):
                    self._run_of_part.pop(part, None)
            elif name in PARTS:
                part = str(document.get("uid"))
                self._parts[run].add(part)
                self._run_of_part[part] = run
        return Routed(name, document, run)

    def _named_by(self, name, document):
        named = next(runs_named(document, self._run_of_part), "")
        alone = not named and name == "resource" and "run_start" not in document and len(self._parts) == 1
        return next(iter(self._parts)) if alone else named


class RoutedSpool(Spool):
    """A spool; what it did not take is written again as it was routed."""

    def __init__(self, directory):
        super().__init__(directory)
        self._routing = Routing()
        self._again = None

    def write(self, name, doc):
        given = (name, doc)
        routed = self._again if self._again and self._again[:2] == given else self._routing.route(*given)
        self._again = routed
        super().write(*routed)
        self._again = None


class RoutedAssembler(RunAssembler):
    """An assembler of documents as they were emitted."""

    def __init__(self, **bounds):
        super().__init__(**bounds)
        self.routing = Routing()

    def take(self, name, document):
        return self.add(*self.routing.route(name, document))
