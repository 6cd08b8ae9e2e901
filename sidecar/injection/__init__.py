"""Puts the sidecar into Kubernetes manifests. Pure: a manifest in, a manifest out.

The command `sidecar inject` and the admission webhook are two thin shells around `manifest.inject`,
so that what a reviewer sees in git and what the cluster does at admission cannot drift apart.
"""
