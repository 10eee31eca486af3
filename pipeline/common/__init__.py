"""What all rooms stand on: files, errors, text, programs, progress, device, import closures."""
