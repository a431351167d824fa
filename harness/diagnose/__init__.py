"""Which mechanism a lag is: evidence out of timelines, captures, logs and kubectl's output, and what it decides."""
