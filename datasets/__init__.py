"""Data sets and loaders: tracklets on disk become records, and records become batches of clips."""
