"""What happened in a lab, when, and how exactly that is known: events of every source on one clock."""
