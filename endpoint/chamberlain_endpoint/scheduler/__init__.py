"""How blocks of nodes are started: one provider per kind of scheduler."""
