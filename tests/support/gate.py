"""A gate before a real Tiled server: it lets all pass but for what a test says, as a proxy of a site might."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive", "host"}


class Gate:
    """Serves what is at ``target``, but for requests that `refuses` answers itself.

    ``refuses`` takes the method, the path and the body, and returns None or a status and a text.
    """

    def __init__(self, target):
        self.target = httpx.URL(target)
        self.refuses = lambda method, path, body: None
        self.refused = []
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_all(self):
                gate.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_all  # noqa: N815 - the library's names

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._client = httpx.Client(trust_env=False, timeout=60)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def uri(self):
        return f"http://127.0.0.1:{self._server.server_port}/api/v1"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._client.close()

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        answer = self.refuses(request.command, request.path, body)
        if answer is not None:
            self.refused.append((request.command, request.path))
            code, text = answer
            self._reply(request, code, {"content-type": "text/html"}, text.encode())
            return
        # Tiled makes the links in its answers from the host that was asked
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers |= {"host": f"127.0.0.1:{self._server.server_port}", "accept-encoding": "identity"}
        url = self.target.copy_with(raw_path=request.path.encode())
        found = self._client.request(request.command, url, headers=headers, content=body)
        self._reply(request, found.status_code, found.headers, found.content)

    @staticmethod
    def _reply(request, code, headers, content):
        request.send_response(code)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                request.send_header(name, value)
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
