"""A service for tests: answers who it is, sleeps, counts its own concurrency, crashes on request."""

import os
import signal
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LOCK = threading.Lock()
STATE = {"now": 0, "max": 0, "served": 0}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with LOCK:
            STATE["now"] += 1
            STATE["served"] += 1
            STATE["max"] = max(STATE["max"], STATE["now"])
        try:
            self.answer()
        finally:
            with LOCK:
                STATE["now"] -= 1

    def answer(self):
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if "ms" in query:
            time.sleep(int(query["ms"]) / 1000)
        body = {
            "/max": lambda: str(STATE["max"]),
            "/served": lambda: str(STATE["served"]),
            "/env": lambda: "\n".join(
                f"{key}={value}" for key, value in sorted(os.environ.items())
            ),
            "/headers": lambda: str(self.headers),
            "/file": lambda: open(query["path"]).read(),
            "/exit": lambda: os._exit(int(query.get("code", "3"))),
            "/fetch": lambda: urllib.request.urlopen(query["url"], timeout=20).read().decode(),
            "/uid": lambda: str(os.getuid()),
        }.get(
            url.path,
            lambda: (
                f"{os.environ.get('TARGET', 'hello')} {os.environ.get('HOSTNAME', '')} {os.environ.get('K_REVISION', '')}"
            ),
        )()
        data = body.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        print("request", self.path, flush=True)


if os.environ.get("CRASH"):
    print("cannot find my database", file=sys.stderr, flush=True)
    sys.exit(int(os.environ["CRASH"]))
server = ThreadingHTTPServer(
    ("0.0.0.0", int(os.environ.get("LISTEN") or os.environ.get("PORT", "8080"))), Handler
)
server.daemon_threads = True
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("ready", flush=True)
server.serve_forever(poll_interval=0.02)
