"""The lab's routers: configurations as OPNsense's os-frr writes them, FRR's daemons, and their state."""
