"""PyTorch code written for CUDA, with its Triton kernels, in this process and on its own tensors.

from verify.triton_cpu.host import Options, attach

with attach(Options(record=True)) as host:
    import library                       # inside, since libraries ask for the device when imported
    library.operation(torch.randn(2, 64, device="cuda")).sum().backward()
host.events, host.torch_reads, host.recording.launches
"""

from verify.triton_cpu.host.device import A100, H100, Device
from verify.triton_cpu.host.recording import Recorded, Recording, TensorFacts
from verify.triton_cpu.host.session import Host, Options, attach, install
from verify.triton_cpu.host.tracking import TorchRead

__all__ = [
    "A100",
    "H100",
    "Device",
    "Host",
    "Options",
    "Recorded",
    "Recording",
    "TensorFacts",
    "TorchRead",
    "attach",
    "install",
]
