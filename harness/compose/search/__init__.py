"""Who proposes compositions: random, TPE, evolution, exhaustive; agents join behind the same protocol."""
