"""Confined worker processes: whatever runs hostile Python or foreign kernels runs here, never in the judge.

The judge holds a `client.Server`. It starts one warm process (`server`), which imports torch, triton and the
role modules and from then on only forks. Each fork locks itself up (`confine`) before it reads a byte of a
candidate, and from then on speaks one fixed frame format (`wire`) over one socket.
"""
