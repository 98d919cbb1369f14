"""Images per second of the training core, beside what the machine could do and what a plain loop does."""
