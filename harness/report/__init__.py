"""What a run prints: progress on stderr, results on stdout, one JSON document where asked for."""
