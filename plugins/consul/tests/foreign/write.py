"""Registers a node of a service as go-micro does, one as its first releases did, one with broken tags.

Usage: write.py HOST:PORT SERVICE
"""

import json
import sys
import urllib.request
import zlib

address, service = sys.argv[1:]


def register(node, tags, ttl):
    body = {
        "ID": f"{service}-{node}",
        "Name": service,
        "Address": "10.0.0.1",
        "Port": 8080,
        "Tags": tags,
        "Check": {"TTL": ttl, "Status": "passing"},
    }
    request = urllib.request.Request(
        f"http://{address}/v1/agent/service/register", json.dumps(body).encode(), method="PUT"
    )
    urllib.request.urlopen(request).close()


def pack(text):
    return zlib.compress(text.encode()).hex()


ENDPOINT = {
    "name": "Say.Hello",
    "request": {"name": "Request", "type": "Request", "values": [{"name": "name", "type": "string", "values": None}]},
    "response": None,
    "metadata": {"stream": "true"},
}
register(
    "packed",
    [
        "t-" + pack(json.dumps({"protocol": "grpc"})),
        "t-" + pack(json.dumps({"zone": "ü"})),
        "e-" + pack(json.dumps(ENDPOINT)),
        "v-" + pack("1.2.3"),
    ],
    "1m0s",
)
register("plain", ['t={"protocol":"http"}', "e=" + json.dumps(ENDPOINT), "v=0.9"], "1m0s")
packed = pack("2.0")
broken = ["e", "t", "v", "e-", "t-", "v-", "e-zz", "t-" + packed[:-1], "e-" + packed, "e=[", "t=7", "t-00"]
cut = pack(json.dumps({"a": "b" * 100}))
register("broken", broken + ["t-" + cut[: len(cut) // 2], "v-" + packed], "1m0s")
