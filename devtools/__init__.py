"""What `./dev` is made of. Not part of the distribution."""
