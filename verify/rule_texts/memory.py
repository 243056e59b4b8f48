"""Rules of MEM: what kernels do to memory, as the interpreter sees it (or a device)."""

from __future__ import annotations

TEXTS: tuple[tuple[str, str, str, str, str, str], ...] = (
    (
        "MEM-OUTSIDE-VIEW",
        "A read between a tensor's rows",
        "Reads of a strided argument stay on its elements.",
        "Between them lies somebody else's data.",
        "Use the strides that the wrapper passes.",
        "load of q at element 19, which is not part of the view",
    ),
    (
        "MEM-ORDER",
        "The order of programs shows",
        "Programs in reverse and in random order give the same bits.",
        "A device runs them in any order.",
        "Let no program read or overwrite what another writes.",
        "output: the bits depend on the order of programs",
    ),
    (
        "MEM-FLOAT-ATOMIC",
        "Floating-point atomics",
        "No float is added atomically.",
        "The sum depends on the order, so runs differ.",
        "Store partial results, and add them up in a second kernel.",
        "tl.atomic_add(d_a_ptr, value)",
    ),
    (
        "MEM-OUT-OF-BOUNDS",
        "An access outside of its buffer",
        "Every load and store stays inside the tensor its pointer came from.",
        "It reads a neighbour's data or corrupts it.",
        "Mask the access at ragged tails.",
        "load from k_ptr at element 640 of 640",
    ),
    (
        "MEM-UNWRITTEN-READ",
        "Memory read before it was written",
        "Scratch is written before it is read.",
        "torch.empty holds what others left.",
        "Initialise it, or mask the load with other=.",
        "load from states at line 88",
    ),
    (
        "MEM-POINTER",
        "A pointer that comes from no argument",
        "Pointers are arguments plus offsets.",
        "Anything else reads unknown memory.",
        "Use the argument.",
        "tl.load of an integer",
    ),
    (
        "MEM-MISALIGNED",
        "An address that does not fit its type",
        "Addresses are multiples of the element size.",
        "A device faults on it.",
        "Compute offsets in elements.",
        "float32 load at byte 2",
    ),
    (
        "MEM-CONFLICT",
        "Two writers of one element",
        (
            "No two programs or lanes write different values to an element, or read what another writes; "
            "none stores plainly what others change atomically."
        ),
        "The result depends on the order of programs.",
        "Give each element one owner; reduce in a second kernel.",
        "d_k written by programs (0,0) and (0,1)",
    ),
    (
        "MEM-HAZARD",
        "An element reached by two threads without a barrier",
        (
            "What one lane of a block stored, another lane of the same program reads or overwrites only "
            "after tl.debug_barrier()."
        ),
        "Lanes are threads, and a store is visible to other threads at a barrier only.",
        "Keep the values in registers (tl.trans, tl.gather, a reduction), or put a barrier between.",
        "tl.store(x_ptr + at, value); y = tl.load(x_ptr + at - 1)",
    ),
    (
        "MEM-OVERFLOW",
        "An offset that does not fit int32",
        "No address depends on int32 arithmetic that wrapped.",
        "Beyond 2**31 elements the offset turns negative, or points to other data of that tensor.",
        "Widen before multiplying: tl.program_id(0).to(tl.int64) * stride.",
        "x_ptr + row * stride, with row * stride = 2,800,000,000",
    ),
    (
        "MEM-GUARD",
        "A guard zone was overwritten",
        "Nothing is written between buffers.",
        "It would be another tensor's memory.",
        "Mask the store.",
        "guard after output",
    ),
    (
        "MEM-INPUT-CHANGED",
        "An argument was changed",
        "Arguments have the same bytes before and after.",
        "The caller still needs them.",
        "Write to a tensor of its own.",
        "q was written to",
    ),
    (
        "MEM-UNCOVERED",
        "A result was not fully written",
        "Every byte of every result is written.",
        "The rest is what was in memory before.",
        "Cover ragged tails; launch for empty rows too.",
        "output: 64 bytes were never written",
    ),
    (
        "MEM-POISON",
        "The bits depend on unwritten memory",
        "Results are the same bits under two poisons of scratch memory.",
        "It shows reads that nothing else saw.",
        "Initialise scratch memory.",
        "output differs between poisons",
    ),
    (
        "MEM-DEVICE-FAULT",
        "The device stopped a kernel",
        "No kernel makes the device report an illegal or misaligned access.",
        "What follows such a fault on the device is undefined.",
        "Mask the access; check the offsets at that shape.",
        "CUDA error: an illegal memory access was encountered",
    ),
)
