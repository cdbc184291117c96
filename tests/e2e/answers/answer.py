#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""answer.py PORT: Python's http.server. /ok, /missing, /broken and /busy say what they are called."""
import http.server
import sys

STATUSES = {"/missing": 404, "/broken": 500, "/busy": 503}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # which answers `Expect: 100-continue` by itself
    disable_nagle_algorithm = True  # head and body are two sends

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"well\n"
        self.send_response(STATUSES.get(self.path.split("?")[0], 200))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = answer
    do_POST = answer

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
