"""The texts of the rules, as plain rows: id, title, what, why, fix, example."""
