"""Commands: where `engine` and `shards` meet, one file per command."""
