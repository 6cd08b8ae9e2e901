"""The comparison benchmark: the same job, in this sidecar and in its peers, on one machine in one run."""
