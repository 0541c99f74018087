"""Documents on their way to those who are told which run each is of, as a `DocumentIntake` tells them."""

from agent_service.documents.assembler import RunAssembler
from agent_service.documents.routing import Routing
from agent_service.documents.spool import Spool


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
