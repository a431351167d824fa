"""L2: who answers for an address, how long a move takes, and what a router makes of it."""
