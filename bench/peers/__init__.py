"""What people run today, one file each, written plainly as the tools' own documentation would; none uses our loop."""
