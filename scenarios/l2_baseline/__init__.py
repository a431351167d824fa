"""Addresses announced by ARP: who answers, how long a move takes, what a router makes of it, what it costs."""
