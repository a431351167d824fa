"""Captured packets: the files that tcpdump, Wireshark and OPNsense write, read in one pass with bounded memory."""
