"""Pure networks: tensors in, tensors out. No files, no pictures, no options."""
