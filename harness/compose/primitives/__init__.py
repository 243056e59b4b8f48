"""The letters of a composition: attention, MLP, Mamba-2, and every admitted mechanism."""
