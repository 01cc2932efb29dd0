"""Creates znodes of a service as go-micro does, by kazoo: good ones and some that nobody may believe.

Usage: write.py HOST:PORT SERVICE
"""

import json
import sys

from kazoo.client import KazooClient

address, service = sys.argv[1:]
client = KazooClient(address)
client.start(timeout=20)


def create(node, data):
    client.create(f"/micro-registry/{service}/{node}", data, makepath=True)


def record(node, address):
    return {
        "name": service,
        "version": "1.2.3",
        "metadata": None,
        "endpoints": [{"name": "Say.Hello", "request": None, "response": None, "metadata": {"stream": "true"}}],
        "nodes": [{"id": node, "address": address, "metadata": {"protocol": "grpc", "zone": "ü"}}],
    }


create(f"{service}-1", json.dumps(record(f"{service}-1", "10.0.0.1:8080")).encode())
capitals = record(f"{service}-2", "10.0.0.2:8080")
create(f"{service}-2", json.dumps({key.capitalize(): field for key, field in capitals.items()}).encode())
create("empty", b"")
create("cut", json.dumps(record("cut", "10.0.0.3:80")).encode()[:-9])
create("another", json.dumps(record("other", "10.0.0.4:80")).encode())
create("large", b" " * (1024 * 1024 - 1024))
client.stop()
