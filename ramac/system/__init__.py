"""What touches the operating system: process settings, signals, files."""
