"""What carries routes into a Kubernetes cluster: a receiver for the router `webhook`."""
