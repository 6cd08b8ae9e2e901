"""`sidecar explain`: why a request was, or would be, refused. The running decision code is used, and observed."""
