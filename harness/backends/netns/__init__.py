"""The embedded lab: processes and network namespaces, without root, Docker or images."""
