"""Addresses announced by ARP: what it costs when they move."""
