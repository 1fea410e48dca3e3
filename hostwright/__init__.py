"""Provision Django hosts, deploy to them, and partition their PostgreSQL tables."""
