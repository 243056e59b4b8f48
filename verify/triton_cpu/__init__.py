"""Triton kernels on a CPU: executed by an instrumented interpreter, or compiled ahead of time for targets
that are not here.

`interpreter.launch` executes kernels on a `memory.arena`; `compiler.compile` gives their exact specialisation
to Triton's own compiler in the same process; `counting` counts what they do at real sizes; `selftest` says
whether the interpreter's corrections hold under the Triton that is installed; `host` runs code that was
written for CUDA. Only `private` touches names that Triton does not document; kernels stay what `triton.jit`
made of them throughout.
"""
