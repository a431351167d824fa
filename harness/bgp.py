"""Names of BGP that several rooms use."""

#: The state of a session that is up (RFC 4271, 8.2.2).
ESTABLISHED = "Established"
