"""A way to another port of this machine on which connections break: a request, or its answer, is lost."""

import contextlib
import socket
import threading


class CuttingProxy:
    """Passes bytes between its port and another; ``chance()`` says of each piece whether its connection breaks."""

    def __init__(self, port, chance):
        self._target = port
        self._chance = chance
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True, name="cutting proxy")
        self._accepting.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True, name="cutting proxy").start()

    def _serve(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 2)
        except OSError:
            client.close()
            return
        back = threading.Thread(target=self._pass, args=(server, client), daemon=True, name="cutting proxy")
        back.start()
        self._pass(client, server)
        back.join(20)
        client.close()
        server.close()

    def _pass(self, source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if self._chance():
                    self.cuts += 1
                    break
                target.sendall(piece)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a mere close wakes nobody who accepts
        self._accepting.join(20)
        self._listener.close()
