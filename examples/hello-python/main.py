"""Answers every request with a greeting. Standard library only."""

import os
import signal
import socketserver


class Hello(socketserver.StreamRequestHandler):
    """One connection: any number of requests, one after another."""

    disable_nagle_algorithm = True
    timeout = 75

    def handle(self):
        while request := self.rfile.readline(8192):
            length, close = self.read_headers()
            self.rfile.read(length)
            head_only = request.startswith(b"HEAD ")
            body = f"Hello {os.environ.get('TARGET', 'World')}!\n".encode()
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                b"Content-Length: %d\r\nConnection: %s\r\n\r\n%s"
                % (len(body), b"close" if close else b"keep-alive", b"" if head_only else body)
            )
            if close:
                return

    def read_headers(self):
        """The length of the body, and whether the client wants the connection closed."""
        length, close = 0, False
        for line in self.rfile:
            name, _, value = line.strip().lower().partition(b":")
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                close = b"close" in value
            elif not name:
                break
        return length, close


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with Server(("0.0.0.0", int(os.environ.get("PORT", "8080"))), Hello) as server:
        server.serve_forever()
