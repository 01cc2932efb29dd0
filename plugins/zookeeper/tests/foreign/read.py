"""Prints what stands at a path and above it as JSON, by kazoo.

Usage: read.py HOST:PORT PATH
"""

import json
import sys

from kazoo.client import KazooClient

address, path = sys.argv[1:]
client = KazooClient(address)
client.start(timeout=20)


def shown(path):
    data, stat = client.get(path)
    acls, _ = client.get_acls(path)
    return {
        "path": path,
        "data": data.decode(),
        "ephemeral": stat.ephemeralOwner != 0,
        "acls": [[acl.id.scheme, acl.id.id, acl.perms] for acl in acls],
    }


parts = path.split("/")
all = [shown("/".join(parts[:end])) for end in range(2, len(parts) + 1)]
print(json.dumps(all))
client.stop()
