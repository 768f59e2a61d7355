"""Images of our programs: built without a registry, each with its digest and its list of parts."""
