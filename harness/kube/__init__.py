"""What `harness.cluster` stands on: kubeconfig, HTTP, discovery of kinds, and API errors put into a sentence."""
