"""One virtual machine with a kernel of its own, for what the lab's shared kernel cannot show."""
