"""What the process is told and runs on: device, precision, memory, threads, files, stops."""
