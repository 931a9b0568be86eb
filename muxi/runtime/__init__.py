"""What a formation runs on: from a manifest and a directory to a process specification."""
