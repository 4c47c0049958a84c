"""What the important things cost, each beside something comparable in the same run: `python -m tests.bench`."""
