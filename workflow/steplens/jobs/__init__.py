"""What every job does around its stage: logs, locks, GPUs, processes, progress. No result depends on it."""
