"""What kernels' pointers reach, watched: an arena of buffers, every access, and what was wrong with it.

Knows nothing of Triton and nothing of how a kernel is run.
"""
