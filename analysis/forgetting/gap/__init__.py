"""Inside a task: accuracy every few steps of training, the dip after a switch, and how forgetting goes on."""
