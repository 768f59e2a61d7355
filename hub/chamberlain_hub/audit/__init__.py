"""What the hub writes down for the site's auditors."""
