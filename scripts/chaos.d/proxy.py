"""Servers that stand in for others and misbehave on demand."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cluster import free_port


class Metadata:
    """Instance metadata as EC2 serves it: a token, then a notice or 404."""

    def __init__(self):
        self.notice = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self):
                self.answer(200 if self.path == "/latest/api/token" else 404, b"token")

            def do_GET(self):
                known = self.path == "/latest/meta-data/spot/instance-action"
                allowed = self.headers.get("X-aws-ec2-metadata-token") == "token"
                body = b'{"action": "terminate", "time": "2021-01-08T21:00:00Z"}'
                self.answer(401 if not allowed else 200 if known and outer.notice else 404, body)

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()
