"""Compiled drivers: from NumPy arrays to blocks, threads and kernels."""
