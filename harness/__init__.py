"""lblab: what clients lose when a Kubernetes LoadBalancer address is announced by BGP or by L2."""
