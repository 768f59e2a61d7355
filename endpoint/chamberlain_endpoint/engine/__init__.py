"""What runs the tasks of one user endpoint: threads, processes, or blocks of nodes by Parsl."""
