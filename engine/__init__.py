"""Numbers: audio to mel, mel to tokens, tokens to labels. Imports neither `shards` nor `jobs`."""
