"""Layer 2: a router's ARP table as a scenario sees it, lblab's own announcer, and single ARP frames."""
