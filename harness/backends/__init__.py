"""How a lab comes to life; nothing outside this package knows which backend it is."""
