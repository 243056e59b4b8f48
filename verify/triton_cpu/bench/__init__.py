"""How fast this layer is, beside the interpreter that Triton ships: `python -m verify.triton_cpu.bench`.

A workload is first recorded as a tape: every launch with its kernel, arguments, grid and the bytes of memory
it starts from. The same tape is then run by Triton's interpreter in a process of its own and by this layer in
each of its modes, launch by launch, so that both sides do the same work on the same data and nothing but
launches is timed.
"""
