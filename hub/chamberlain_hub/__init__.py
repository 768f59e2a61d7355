"""The hub: REST, dispatch, identity and storage."""
