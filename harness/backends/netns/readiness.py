"""Whether a daemon that has just been started may be relied on."""

from __future__ import annotations

import http.client
import json
import socket
import ssl


def answers(path: str) -> bool:
    """Whether a UNIX socket accepts connections."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError:
            return False
        return True


def api_serves(where: str, token: str | None) -> bool:
    """Whether the API server is ready, and its custom resources too.

    To who watches a resource that nobody has asked for before, it answers 429 with a Retry-After of a second: its cache
    is being made (Kubernetes, ResilientWatchCacheInitialization). Cilium's operator lost that second at every other
    start, and so each of them is asked for here.

    Args:
        where: "<port>/<path>" on 127.0.0.1; the path answers 200 when it is ready.
        token: The bearer token to ask with.
    """
    port, _, path = where.partition("/")
    # the certificate is the lab's own; its identity is checked by every real client through the kubeconfig's CA
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", int(port), timeout=2, context=context)

    def get(path: str) -> tuple[int, bytes]:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, response.read()

    try:
        if get("/" + path)[0] != 200:
            return False
        for group in json.loads(get("/apis")[1])["groups"]:
            if "." not in group["name"] or group["name"].endswith(".k8s.io"):
                continue  # Kubernetes' own
            for version in group["versions"]:
                base = f"/apis/{version['groupVersion']}"
                for resource in json.loads(get(base)[1])["resources"]:
                    if "/" not in resource["name"]:
                        get(f"{base}/{resource['name']}?limit=1")
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return True
