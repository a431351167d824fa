"""ARP: a router's table as a scenario sees it, lblab's own announcer, and single frames."""
