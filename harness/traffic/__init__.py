"""What probes saw, and what it means: records, the fate of every packet, outages and the metrics of the RFCs.

`records` and `control` read what `lablet` writes; everything else here is pure: no I/O, no clock.
"""
