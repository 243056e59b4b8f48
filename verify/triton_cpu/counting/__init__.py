"""What launches at real sizes would do: FLOPs, bytes and sectors, from a sample of their programs."""
