"""What running as a service takes: whether it is well, what goes to the log, how it ends."""
