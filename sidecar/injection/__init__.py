"""Injects the sidecar into Kubernetes manifests. Pure: a manifest in, a manifest out.

The command `sidecar inject` and the admission webhook both call `manifest.inject` and do little else, so that a
manifest reviewed in git and the cluster's result at admission do not differ.
"""
