"""What is looked at while the process serves: certificates, issuers, upstream, a way past the sidecar, end dates."""
