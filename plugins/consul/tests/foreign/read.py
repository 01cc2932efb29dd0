"""Prints the one record of a service as JSON: what Consul's HTTP API says, tags by Python's zlib.

Usage: read.py HOST:PORT SERVICE
"""

import json
import sys
import urllib.request
import zlib


def unpack(tag):
    """go-micro's: the kind, then zlib in lower-case hexadecimal. A version is no JSON."""
    kind, digits = tag[:2], tag[2:]
    assert digits == digits.lower(), tag
    text = zlib.decompress(bytes.fromhex(digits)).decode()
    return [kind, text if kind == "v-" else json.loads(text)]


address, service = sys.argv[1:]
with urllib.request.urlopen(f"http://{address}/v1/health/service/{service}") as answer:
    (entry,) = json.load(answer)
record = entry["Service"]
(check,) = [check for check in entry["Checks"] if check["ServiceID"] == record["ID"]]
meta = {key: text for key, text in record["Meta"].items() if not key.startswith("waypost-")}
print(
    json.dumps(
        {
            "id": record["ID"],
            "name": record["Service"],
            "address": record["Address"],
            "port": record["Port"],
            "tags": [unpack(tag) for tag in record["Tags"]],
            "meta": meta,
            "check": [check["CheckID"], check["Type"], check["Status"]],
        }
    )
)
