"""The L2 responder's map through bpf(2): a map of the same shape, pinned in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="bpf(2) and a mount take root"),
]

#: Makes, pins and fills a hash map as Cilium does, in the folder that it is given, and tells what is read of it.
CHILD = """
import ctypes, ipaddress, json, struct, subprocess, sys
from pathlib import Path
from harness.backends.kind import bpfmap

root = Path(sys.argv[1])
print(json.dumps(bpfmap.entries(root)))
(root / "sys/fs/bpf").mkdir(parents=True)
subprocess.run(["mount", "-t", "bpf", "none", str(root / "sys/fs/bpf")], check=True)
(root / bpfmap.PIN).parent.mkdir(parents=True)
HASH, NO_PREALLOC, CREATE, UPDATE, PIN = 1, 1, 0, 2, 6
made = bpfmap._bpf(CREATE, struct.pack("=IIIII", HASH, 8, 8, 16, NO_PREALLOC))
path = ctypes.create_string_buffer(str(root / bpfmap.PIN).encode())
bpfmap._bpf(PIN, struct.pack("=QII", ctypes.addressof(path), made, 0))
for ip, ifindex, answers in (("192.168.130.200", 7, 3), ("192.168.130.201", 7, 0)):
    value = ctypes.create_string_buffer(struct.pack("=Q", answers), 8)
    bpfmap._element(UPDATE, made, bpfmap._KEY.pack(ipaddress.IPv4Address(ip).packed, ifindex), value)
print(json.dumps(bpfmap.entries(root)))
print(json.dumps([bpfmap.forget(root, "192.168.130.200", index) for index in (8, 7, 7)]))
print(json.dumps(bpfmap.entries(root)))
"""


def test_entries_are_read_and_forgotten(tmp_path: Path) -> None:
    argv = ["unshare", "--mount", sys.executable, "-c", CHILD, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    if "Operation not permitted" in done.stderr or "Function not implemented" in done.stderr:
        pytest.skip(f"no bpf(2) here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    before, filled, gone, after = [json.loads(line) for line in done.stdout.splitlines()]
    kept = {"ip": "192.168.130.201", "ifindex": 7, "responses": 0}
    assert before == []
    assert sorted(filled, key=lambda entry: entry["ip"]) == [
        {"ip": "192.168.130.200", "ifindex": 7, "responses": 3},
        kept,
    ]
    assert gone == [False, True, False]
    assert after == [kept]
