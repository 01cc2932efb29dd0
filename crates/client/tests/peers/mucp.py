"""A node that speaks go-micro's HTTP transport, from Python's standard library alone."""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Node(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        endpoint = self.headers["Micro-Endpoint"]
        error, reply = None, b""
        if self.path != "/" or self.headers["Content-Type"] != "application/json":
            error = {"id": "go.micro.server", "code": 400, "detail": "no such request"}
        elif endpoint == "Greeter.Hello":
            name = json.loads(body)["name"]
            reply = json.dumps({"text": "Hello " + name, "service": self.headers["Micro-Service"]}).encode()
        else:
            detail = "rpc: can't find service " + endpoint
            error = {"id": "go.micro.server", "code": 404, "detail": detail, "status": "Not Found"}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if error:
            self.send_header("Micro-Error", json.dumps(error))
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Node)
print(server.server_address[1], flush=True)
server.serve_forever()
