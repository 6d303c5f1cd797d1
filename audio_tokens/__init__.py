"""Audio as tokens: the rooms `engine`, `shards` and `jobs`, linked from the top of the repository, under one name."""
