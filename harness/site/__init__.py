"""A user's own site: what its manifests and its router's configuration say, and which mechanisms it is open to."""
