"""Triton kernels on a CPU: executed by an instrumented interpreter, or compiled ahead of time for targets
that are not here.

`launch` executes kernels on an arena (`memory`), `compile` gives their exact specialisation to Triton's own
compiler in the same process, `selftest` says whether the interpreter's corrections hold under the Triton that
is installed. Only `private` touches names that Triton does not document; kernels stay what `triton.jit` made
of them throughout.
"""
