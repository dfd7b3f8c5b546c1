"""The figures, one file per question. Each function gives a matplotlib figure, or None where nothing was measured."""
