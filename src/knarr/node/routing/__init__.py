"""Cluster IPs and node ports: connections to them are sent on to the endpoints of Services, by nftables."""
