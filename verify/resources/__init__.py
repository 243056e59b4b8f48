"""`verify compile`: what kernels need on devices that are not here, as a table and a document."""
