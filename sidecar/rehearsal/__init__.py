"""`sidecar explain`: why a request was, or would be, refused. The decision is the running one, watched."""
