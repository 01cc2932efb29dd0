"""A gRPC node as go-micro's is, from grpcio: the package of a path is ignored, messages are JSON,
an error's message is go-micro's error JSON."""
import json
from concurrent.futures import ThreadPoolExecutor

import grpc


def hello(request, context):
    name = json.loads(request)["name"]
    left = context.time_remaining()
    return json.dumps({"text": "Hello " + name, "deadline": left is not None and left < 60}).encode()


def fail(request, context):
    error = {"id": "go.micro.server", "code": 409, "detail": "it's taken, 100 %", "status": "Conflict"}
    context.abort(grpc.StatusCode.ALREADY_EXISTS, json.dumps(error))


def echo(requests, context):
    for request in requests:
        yield request


class Endpoints(grpc.GenericRpcHandler):
    def service(self, details):
        service, method = details.method.rsplit("/", 1)
        if service.rsplit(".", 1)[-1] != "Greeter":
            return None
        return {
            "Hello": grpc.unary_unary_rpc_method_handler(hello),
            "Fail": grpc.unary_unary_rpc_method_handler(fail),
            "Echo": grpc.stream_stream_rpc_method_handler(echo),
        }.get(method)


server = grpc.server(ThreadPoolExecutor(8), handlers=[Endpoints()])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
