"""Rules that reading the text decides: PAR and POL."""

from __future__ import annotations

TEXTS: tuple[tuple[str, str, str, str, str, str], ...] = (
    (
        "PAR-SIZE",
        "The file or a number in it is too large",
        "A mechanism has at most 200,000 bytes and number literals of at most 100 characters.",
        (
            "One file is one mechanism; tables and payloads have no place in it, and huge literals stall "
            "parsers."
        ),
        "Remove generated data; compute it.",
        "TABLE = 0x" + "f" * 8 + "...  # thousands of digits",
    ),
    (
        "PAR-ENCODING",
        "The file is not plain UTF-8",
        "No byte order mark, no null byte, no invalid UTF-8, no encoding declaration.",
        "Two readers that decode differently see two programs.",
        "Save as UTF-8 without a mark; drop the coding comment.",
        "# -*- coding: utf-7 -*-",
    ),
    (
        "PAR-LINE-ENDING",
        "A carriage return in the text",
        "Lines end with a single line feed.",
        "A lone carriage return hides code from line-based tools.",
        "Convert to Unix line endings.",
        "S = S * a\\r\\n",
    ),
    (
        "PAR-TAB",
        "A tab in the text",
        "Only spaces separate and indent.",
        "Tabs change meaning with the viewer's width.",
        "Replace tabs by spaces.",
        "\\treturn x",
    ),
    (
        "PAR-INVISIBLE",
        "A character that a reviewer cannot see",
        "No control, bidirectional, format, private-use or unassigned characters, and no space but U+0020.",
        "They make the text on the screen differ from the text that runs (Trojan Source, CVE-2021-42574).",
        "Delete the character that the finding names.",
        "# U+202E RIGHT-TO-LEFT OVERRIDE in a comment",
    ),
    (
        "PAR-IDENTIFIER",
        "A letter outside of ASCII in code",
        "Names and numbers are ASCII; comments and docstrings may hold any visible letter.",
        "Python normalises names, so two spellings may be one name, and two names may look alike.",
        "Rename it, e.g. φ to phi.",
        "φ = torch.exp(x)",
    ),
    (
        "PAR-SYNTAX",
        "The text is not Python",
        "The file parses, as Python 3.11 and in every parser used here.",
        "What cannot be read cannot be judged.",
        "Fix the error at the position given.",
        "def forward(q, k v):",
    ),
    (
        "PAR-NESTING",
        "Code nested too deeply",
        (
            "Trees are at most 80 deep, a logical line has at most 4,000 tokens, and at most 50 strings are "
            "joined."
        ),
        "Recursive tools overflow on deep trees, and nobody can read them.",
        "Split the expression into steps.",
        "x = ((((((((((... a + b ...))))))))))",
    ),
    (
        "POL-IMPORT",
        "An import that is not allowed",
        (
            "The imports are `math`, `torch`, `triton` and `triton.language as tl`, at the top, in exactly "
            "these forms."
        ),
        "Everything else is a way to files, clocks, processes or another's implementation.",
        "Remove the import; write the code out.",
        "from torch.nn.functional import scaled_dot_product_attention",
    ),
    (
        "POL-MODULE",
        "A statement that would run at import",
        "A module holds its docstring, imports, SPEC, TUNING and functions, each once.",
        "Module state outlives a call (caches, counters), and code at import runs before anyone looks.",
        "Move values into functions, or into SPEC's constants.",
        "_CACHE = {}",
    ),
    (
        "POL-DECORATOR",
        "A decorator other than @triton.jit",
        "Kernels carry exactly `@triton.jit`; other functions carry none.",
        (
            "A decorator replaces a function by something that the text does not show (memoising, "
            "autotuning, "
            "compiling)."
        ),
        "Remove it; list tunings in TUNING.",
        "@functools.cache",
    ),
    (
        "POL-SYNTAX",
        "A statement or expression outside of the subset",
        (
            "No try, with, class, nested function, lambda (but a grid's), import, del, yield, async, match, "
            ":=, "
            "dict or set, * or **."
        ),
        "The subset is what can be followed by reading; the rest hides control flow or state.",
        "Use plain assignments, if, for, while and return.",
        "try:\n    return kernel_result\nexcept Exception:\n    return torch.matmul(q, k)",
    ),
    (
        "POL-STATE",
        "Something that would outlive a call",
        "No global or nonlocal, and no assignment to an attribute.",
        "State lets one call prepare the answer of the next.",
        "Pass values as arguments and results.",
        "forward.cache = output",
    ),
    (
        "POL-DEFAULT",
        "A default argument that is not a number",
        "Defaults are numbers, True, False or None, and the four contract functions have none.",
        "A default is made once and shared by all calls: a mutable one is a cache.",
        "Build the value inside the function.",
        "def _helper(x, seen=[]):",
    ),
    (
        "POL-ANNOTATION",
        "An annotation that is not a simple type",
        (
            "Plain functions use torch.Tensor, int, float, bool, tuple, list, dict; kernels use tl.constexpr "
            "only."
        ),
        "Annotations are expressions and would be evaluated.",
        "Use a listed type or none.",
        "def forward(q: print(1)): ...",
    ),
    (
        "POL-SHADOW",
        "A name that already means something",
        (
            "Locals, arguments and functions do not reuse the name of a module, a built-in of the subset or "
            "another function."
        ),
        "After `range = evil`, the text no longer says what it does.",
        "Rename the local.",
        "torch = q",
    ),
    (
        "POL-NAME",
        "An unknown name, or a function used as a value",
        "Every name is a local, and modules, built-ins and functions appear only where they are called.",
        "An allow-list works only if nothing can be reached under another name.",
        "Call the function directly, or fix the spelling.",
        "op = torch.matmul",
    ),
    (
        "POL-ATTRIBUTE",
        "An attribute that is not on the list",
        (
            "Values have shape, dtype, ndim, device (as `device=x.device`) and the methods of the function's "
            "role."
        ),
        "Attributes lead from any value to everything else.",
        "Use a listed attribute; the message names the nearest.",
        "q.layout",
    ),
    (
        "POL-CALL",
        "A call that cannot be followed",
        (
            "Calls name a function of the file, a listed built-in, a listed function of a module, a listed "
            "method, or launch kernel[grid]."
        ),
        "A computed callee can be anything.",
        "Call by name; drop unknown keywords.",
        "(torch.add if fast else torch.sub)(a, b)",
    ),
    (
        "POL-STRING",
        "Text where only numbers are allowed",
        (
            "Strings appear as tuning keys, einsum equations, listed options and messages; no f-strings, no "
            "formatting."
        ),
        "Formatting calls into objects and reads values; strings name things that the policy would refuse.",
        "Remove the string.",
        '"{0.__class__}".format(q)',
    ),
    (
        "POL-INTROSPECT",
        "A look into the program itself",
        "No double underscores, private attributes, getattr, type, vars, frames or code objects.",
        "They undo every other rule.",
        "Write the name or the value out.",
        'getattr(torch, "mat" + "mul")',
    ),
    (
        "POL-DYNAMIC",
        "Code made at run time",
        "No eval, exec, compile, import functions, torch.compile, torch.jit or torch.ops.",
        "What is not in the text cannot be judged.",
        "Write the code out.",
        "torch.compile(reference)",
    ),
    (
        "POL-IO",
        "Input or output",
        "No open, print or input, and no printing from kernels.",
        "A mechanism reads its arguments and writes its results; channels carry answers past the judge.",
        "Remove it.",
        'open("/proc/self/environ")',
    ),
    (
        "POL-DEVICE",
        "A question about the device",
        "The only use of a device is `device=x.device` in an allocation.",
        "The same plan serves every device; code that asks can behave differently when it is watched.",
        "Write device=x.device.",
        "if q.is_cuda:",
    ),
    (
        "POL-STORAGE",
        "Access to raw storage",
        "No storage, data_ptr, set_, as_strided or resize.",
        "Memory outside of a tensor's view belongs to others.",
        "Use views; let kernels address memory.",
        "q.untyped_storage()",
    ),
    (
        "POL-AUTOGRAD",
        "Meddling with gradients",
        "No detach, requires_grad, no_grad or autograd functions.",
        "A definition must be one unbroken graph, or its gradient proves nothing.",
        "Remove it; gradients of kernels come from backward.",
        "v.detach()",
    ),
    (
        "POL-VALUE-READ",
        "A tensor's value is read into Python",
        "No item, tolist, bool, int or float of a tensor, and no condition on one.",
        "A launch plan depends on shapes only; a wrapper that sees values can special-case the test.",
        "Compute in a kernel; in a definition use torch.where.",
        "if x.max() > 0:",
    ),
    (
        "POL-ITERATE",
        "A loop over a tensor",
        "Loops run over range, zip, enumerate, tuples and lists.",
        "Iterating a tensor reads its parts into Python one by one.",
        "Loop over an index, or use unbind.",
        "for row in q:",
    ),
    (
        "POL-ATEN",
        "A wrapper that computes",
        "forward and backward allocate, take views, cast, and launch; arithmetic is for numbers.",
        "The work must be done by the kernels that are judged.",
        "Move the operation into a @triton.jit function.",
        "scores = q @ k.transpose(-1, -2)",
    ),
    (
        "POL-INPLACE",
        "A change in place",
        "No in-place methods, `out=`, `inplace=`, augmented assignment of tensors, or writes into arguments.",
        "Inputs and the caller's lists stay as they are.",
        "Make a new value; fill a fresh tensor by index.",
        "q.mul_(2)",
    ),
    (
        "POL-CAST",
        "A cast in the reference",
        "reference keeps the dtype of its inputs: no to, float, double, half, and no floating dtype by name.",
        "The judge runs it in float64 to know the truth; a cast would lower it.",
        "Use x.dtype where a dtype is needed.",
        "q.float()",
    ),
    (
        "POL-REFERENCE",
        "The two sides use each other",
        "forward and backward do not call reference or parallel, nor the other way round.",
        "They prove each other only if they are independent.",
        "Write the wrapper with kernels.",
        "def forward(...):\n    return reference(...)",
    ),
    (
        "POL-KERNEL-USE",
        "A kernel used as a value",
        "A kernel is launched as kernel[grid](...) from a wrapper, or called by a kernel.",
        "Methods of the kernel object (run, warmup, cache) reach the compiler's insides.",
        "Launch it directly.",
        "_kernel.run(...)",
    ),
    (
        "POL-KERNEL-CALL",
        "A call outside of the Triton subset",
        (
            "Kernels call listed tl functions, methods of tiles, range, min, max, len, float, int and other "
            "kernels, without recursion."
        ),
        "The interpreter runs kernels as Python, so every name must be known to be harmless.",
        "Use a listed function; the message names the nearest.",
        'tl.device_print("x", x)',
    ),
    (
        "POL-ASSEMBLY",
        "Foreign code in a kernel",
        "No inline assembly and no tl.extra.",
        "It cannot be interpreted, checked or carried to other devices.",
        "Write it with tl functions.",
        "tl.inline_asm_elementwise(...)",
    ),
    (
        "POL-POINTER",
        "A pointer made from a number",
        "Pointers are arguments and arguments plus offsets; casts target tl dtypes or the dtype of a tile.",
        "A forged pointer reads any memory.",
        "Use x_ptr.dtype.element_ty or a tl dtype.",
        "(addr).to(q_ptr.dtype, bitcast=True)",
    ),
    (
        "POL-UNREACHED",
        "A function that nothing uses",
        "In a free mechanism every plain function serves forward, backward, reference or parallel.",
        "Dead code misleads the reader.",
        "Remove it.",
        "def _unused(x): ...",
    ),
)
