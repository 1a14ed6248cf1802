"""The same work done to many items, by processes of this machine or by a cluster."""
