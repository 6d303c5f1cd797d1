"""Production code beside its peers and its floors: `python -m benchmarks [NAME ...]`. Nothing imports this room."""
