"""What generation loses without the neurons that tell language or modality."""
