"""Lease files: those of other servers, and ours to carry leases about."""
