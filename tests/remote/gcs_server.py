"""A server of objects with the XML interface of Google Cloud Storage, as its documentation has it, with generations."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LIST = "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>1</KeyCount>{}</ListBucketResult>"
DAY = "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
ONE = f"<Contents><Key>{{}}</Key>{DAY}<ETag>{{}}</ETag><Size>{{}}</Size></Contents>"


class Handler(BaseHTTPRequestHandler):
    """`/bucket/key`; what it holds is of the server."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_words):
        pass

    @property
    def key(self):
        return unquote(urlsplit(self.path).path).removeprefix("/bucket/")

    def answer(self, status, body=b"", number=None, content=b""):
        self.send_response(status)
        length = len(content) if self.command == "HEAD" else len(body)
        self.send_header("Content-Length", str(length))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if number is not None:
            self.send_header("ETag", tag(content))
            self.send_header("x-goog-generation", str(number))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        wanted = self.headers.get("x-goog-if-generation-match")
        with self.server.turn:
            there = self.server.held.get(self.key, (0, b""))[0]
            if wanted is not None and int(wanted) != there:
                return self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            self.server.count += 1
            self.server.held[self.key] = (self.server.count, content)
            return self.answer(200, b"", self.server.count, content)

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            prefix = query.get("prefix", [""])[0]
            held = sorted((k, v) for k, v in self.server.held.items() if k.startswith(prefix))
            body = "".join(ONE.format(key, tag(content), len(content)) for key, (_, content) in held)
            return self.answer(200, LIST.format(body).encode())
        if self.key not in self.server.held:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        number, content = self.server.held[self.key]
        return self.answer(200, content, number, content)

    do_HEAD = do_GET  # noqa: N815 - http.server calls it so

    def do_DELETE(self):
        there = self.server.held.pop(self.key, None)
        self.answer(204 if there else 404)


def tag(content):
    return f'"{hashlib.md5(content).hexdigest()}"'


class Server(ThreadingHTTPServer):
    """Of one bucket, on this machine alone."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.held, self.count, self.turn = {}, 0, threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self):
        self.shutdown()
        self.thread.join()
        self.server_close()
