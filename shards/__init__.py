"""Bytes at rest and in motion: sources, shards, plans, the token store. Imports neither `engine` nor `jobs`."""
